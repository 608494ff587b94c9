{{/*
The name of every object. A name that is too long or no DNS label gets a hash of the whole one, so that two long
names that differ at their end stay two.
*/}}
{{- define "portcullis.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := .Values.fullnameOverride | default (contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart)) -}}
{{- if regexMatch "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$" $name -}}
{{- $name -}}
{{- else -}}
{{- $clean := regexReplaceAll "[^-a-z0-9]+" (lower $name) "-" -}}
{{- $clean = regexMatch "^[a-z]" $clean | ternary $clean (printf "p-%s" $clean) -}}
{{- printf "%s-%s" ($clean | trunc 54 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "portcullis.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "portcullis.fullname" .) "default") -}}
{{- end -}}

{{- define "portcullis.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Of every container: the standard `restricted`, and nothing to write to but volumes. */}}
{{- define "portcullis.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{- define "portcullis.failurePolicy" -}}
{{- .Values.webhook.failurePolicy | default (eq .Values.profile "enforce" | ternary "Fail" "Ignore") -}}
{{- end -}}

{{/* Namespaces that are not judged, as a JSON list. */}}
{{- define "portcullis.exemptNamespaces" -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.webhook.exemptNamespaces | uniq | toJson -}}
{{- end -}}

{{/* Namespaces whose ConfigMaps may be policies, as a JSON list. */}}
{{- define "portcullis.policyNamespaces" -}}
{{- concat (list .Release.Namespace) .Values.policies.configMaps.namespaces | uniq | toJson -}}
{{- end -}}

{{/* What the gate does with ConfigMaps that are policies: it watches them, and says on them what is wrong. */}}
{{- define "portcullis.policyRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Secrets of the release's namespace that hold keys of signers, as a JSON list. */}}
{{- define "portcullis.signerSecrets" -}}
{{- $names := list -}}
{{- range $_, $signer := (.Values.config.trust | default dict).signers | default dict -}}
{{- $secret := (($signer | default dict).key | default dict).secret | default dict -}}
{{- if and $secret.name (eq ($secret.namespace | default $.Release.Namespace) $.Release.Namespace) -}}
{{- $names = append $names $secret.name -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Names by which the audit pages are reached where they have a Service, as a JSON list. */}}
{{- define "portcullis.pagesNames" -}}
{{- $name := printf "%s-pages" (include "portcullis.fullname" . | trunc 57 | trimSuffix "-") -}}
{{- list (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) $name (printf "%s.%s" $name .Release.Namespace) | toJson -}}
{{- end -}}

{{/* Whether the API server is asked who readers of the audit pages are, and what they may see: "true" or "". */}}
{{- define "portcullis.readersReviewed" -}}
{{- $pages := (.Values.config.audit | default dict).pages | default dict -}}
{{- $proxied := and (hasKey $pages "proxy") (ne (($pages.proxy | default dict).readers | default "reviewed") "all") -}}
{{- if and (ne (toString $pages.enabled) "false") (or (hasKey $pages "tokens") $proxied) -}}true{{- end -}}
{{- end -}}

{{/* What the replicas share: the CA of their certificate, and the path by which the API server calls. */}}
{{- define "portcullis.sharedSecret" -}}
{{- printf "%s-shared" (include "portcullis.fullname" . | trunc 56 | trimSuffix "-") -}}
{{- end -}}

{{/* cluster.webhook, as JSON. Of several replicas only the last one switches the webhook off. */}}
{{- define "portcullis.registration" -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $registration := dict "name" $name "standDown" .Values.webhook.standDown -}}
{{- if include "portcullis.replicated" . -}}
{{- $_ := set $registration "deployment" $name -}}
{{- end -}}
{{- toJson $registration -}}
{{- end -}}

{{/* By which the replicas agree on the one that judges again what runs. */}}
{{- define "portcullis.recheckLease" -}}
{{- printf "%s-recheck" (include "portcullis.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{/* cluster.recheck, as JSON. */}}
{{- define "portcullis.recheck" -}}
{{- set (omit .Values.recheck "enabled") "lease" (include "portcullis.recheckLease" .) | toJson -}}
{{- end -}}

{{/* portcullis.yaml: the values under config, with what the chart knows. */}}
{{- define "portcullis.configuration" -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $tls := dict "selfManaged" (dict "secret" (include "portcullis.sharedSecret" .) "names" (include "portcullis.certificateNames" . | fromJsonArray)) -}}
{{- $pages := dict "port" (int .Values.ports.pages) -}}
{{- $given := (.Values.config.audit | default dict).pages | default dict -}}
{{- if .Values.pages.service.enabled -}}
{{- $names := include "portcullis.pagesNames" . | fromJsonArray -}}
{{- $pages = merge $pages (dict "address" "0.0.0.0" "allowedHosts" (concat $names ($given.allowedHosts | default list) | uniq)) -}}
{{- if not (or $given.tls $given.insecure) -}}
{{- $_ := set $pages "tls" (dict "webhook" true) -}}
{{- end -}}
{{- end -}}
{{- if include "portcullis.certificateSecret" . -}}
{{- $tls = dict "certFile" "/etc/portcullis/tls/tls.crt" "keyFile" "/etc/portcullis/tls/tls.key" -}}
{{- if .Values.tls.caBundle -}}
{{- $_ := set $tls "caFile" "/etc/portcullis/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- $own := dict
      "server" (dict "address" "0.0.0.0" "port" (int .Values.ports.webhook) "healthAddress" "0.0.0.0" "healthPort" (int .Values.ports.health) "tls" $tls)
      "cluster" (dict
        "webhook" (include "portcullis.registration" . | fromJson)
        "events" .Values.events.enabled
        "breakGlass" .Values.breakGlass.enabled
        "pullSecrets" .Values.pullSecrets
        "caller" (include "portcullis.caller" . | fromJson))
      "audit" (dict "pages" $pages) -}}
{{- if .Values.mutation.enabled -}}
{{- $_ := set $own.cluster "mutation" (dict "webhook" $name "owners" .Values.mutation.owners) -}}
{{- end -}}
{{- if .Values.recheck.enabled -}}
{{- $_ := set $own.cluster "recheck" (include "portcullis.recheck" . | fromJson) -}}
{{- end -}}
{{- $config = mergeOverwrite (dict "audit" (include "portcullis.store" . | fromYaml)) $config $own -}}
{{- if eq .Values.opa.mode "sidecar" -}}
{{- $config = mergeOverwrite $config (dict "opa" (dict "address" (include "portcullis.opaSocket" .))) -}}
{{- end -}}
{{- $policies := $config.policies | default dict -}}
{{- if eq .Values.profile "audit" -}}
{{- $overrides := list -}}
{{- range $override := $policies.overrides -}}
{{- if hasKey $override "parameters" -}}
{{- $overrides = append $overrides (omit $override "modes") -}}
{{- end -}}
{{- end -}}
{{- $policies = set (omit $policies "namespaces" "overrides") "modes" (dict "*" "audit") -}}
{{- if $overrides -}}
{{- $policies = set $policies "overrides" $overrides -}}
{{- end -}}
{{- end -}}
{{- if .Values.policies.configMaps.enabled -}}
{{- $policies = set $policies "configMaps" (dict "namespaces" .Values.policies.configMaps.namespaces) -}}
{{- end -}}
{{- $folders := $policies.folders | default list -}}
{{- range .Values.policyConfigMaps -}}
{{- $folders = append $folders (printf "/etc/portcullis/policies/%s" .) -}}
{{- end -}}
{{- if $folders -}}
{{- $policies = set $policies "folders" $folders -}}
{{- end -}}
{{- if $policies -}}
{{- $config = set $config "policies" $policies -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
Longer than the program needs to stop: the delay (or telling the API server, up to 6 s), the reviews in flight, and 15 s
for the records, OPA and a slow disk.
*/}}
{{- define "portcullis.graceSeconds" -}}
{{- $server := .Values.config.server | default dict -}}
{{- $delay := hasKey $server "stopDelaySeconds" | ternary $server.stopDelaySeconds 5 -}}
{{- $drain := hasKey $server "drainSeconds" | ternary $server.drainSeconds 20 -}}
{{- addf (float64 $delay) (float64 $drain) 15 | ceil | int -}}
{{- end -}}
