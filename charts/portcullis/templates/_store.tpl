{{/* Whether the audit log is a database of a server, which replicas share: "true" or "". */}}
{{- define "portcullis.storeShared" -}}
{{- if hasPrefix "postgresql" (dig "audit" "database" "" .Values.config) -}}true{{- end -}}
{{- end -}}

{{/*
The section audit, where config does not say otherwise. The journal takes records while the database is down; it lies on
the pod's own disk, and is told to the database before the pod ends.
*/}}
{{- define "portcullis.store" -}}
{{- if include "portcullis.storeShared" . -}}
journal: /var/lib/portcullis/audit.journal
{{- if .Values.database.passwordSecret.name }}
passwordFile: /etc/portcullis/database/password
{{- end }}
{{- else -}}
database: sqlite:////var/lib/portcullis/audit.db
{{- end -}}
{{- end -}}

{{/* What /var/lib/portcullis is: a claim outlives the pod, and belongs to one. */}}
{{- define "portcullis.dataVolume" -}}
{{- if and .Values.persistence.enabled (not (include "portcullis.storeShared" .)) -}}
persistentVolumeClaim:
  claimName: {{ .Values.persistence.existingClaim | default (include "portcullis.fullname" .) }}
{{- else -}}
emptyDir:
  sizeLimit: {{ .Values.persistence.size }}
{{- end -}}
{{- end -}}

{{- define "portcullis.guards.store" -}}
{{- $audit := .Values.config.audit | default dict -}}
{{- $database := $audit.database | default "" -}}
{{- $shared := include "portcullis.storeShared" . -}}
{{- if and (include "portcullis.replicated" .) (not $shared) -}}
{{- fail (printf "%s, but the audit log is an SQLite database, which belongs to one process: set replicas to 1, or config.audit.database to a PostgreSQL database" (include "portcullis.replicasSaid" .)) -}}
{{- end -}}
{{- if and (include "portcullis.replicated" .) $audit.replica -}}
{{- fail (printf "%s, but config.audit.replica gives them one name, and each writes a chain of records of its own: leave it out, and they are called as their pods" (include "portcullis.replicasSaid" .)) -}}
{{- end -}}
{{- if and $shared .Values.persistence.existingClaim -}}
{{- fail "persistence.existingClaim is set, but the audit log is a PostgreSQL database: nothing would be kept there" -}}
{{- end -}}
{{- if and $shared (regexMatch "^[^/]*//[^/@]*:[^/@]*@" $database) -}}
{{- fail "config.audit.database has a password in it, which whoever reads ConfigMaps would see: set database.passwordSecret instead" -}}
{{- end -}}
{{- with .Values.database.passwordSecret.name -}}
{{- if not $shared -}}
{{- fail "database.passwordSecret is set, but config.audit.database is no PostgreSQL database" -}}
{{- end -}}
{{- if $audit.passwordFile -}}
{{- fail "database.passwordSecret and config.audit.passwordFile are both set: leave out one" -}}
{{- end -}}
{{- end -}}
{{- end -}}
