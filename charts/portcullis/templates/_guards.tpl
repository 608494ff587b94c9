{{/* What the schema cannot say, and what it says too curtly. Whatever contradicts is an error, never lost. */}}
{{- define "portcullis.guards" -}}
{{- include "portcullis.guards.owned" . -}}
{{- include "portcullis.guards.webhook" . -}}
{{- include "portcullis.guards.caller" . -}}
{{- include "portcullis.guards.pullSecrets" . -}}
{{- include "portcullis.guards.pages" . -}}
{{- include "portcullis.guards.store" . -}}
{{- include "portcullis.guards.opa" . -}}
{{- include "portcullis.guards.circles" . -}}
{{- include "portcullis.guards.replicas" . -}}
{{- include "portcullis.guards.certificate" . -}}
{{- $volumes := dict "config" true "data" true "tmp" true
      "tls" (include "portcullis.certificateSecret" .)
      "client-ca" (include "portcullis.clientAuthority" .)
      "database" .Values.database.passwordSecret.name
      "opa" (eq .Values.opa.mode "sidecar") -}}
{{- range .Values.extraVolumes -}}
{{- if or (index $volumes .name) (regexMatch "^policies-[0-9]+$" .name) -}}
{{- fail (printf "extraVolumes has %s, which is a volume of the chart's: take another name" .name) -}}
{{- end -}}
{{- end -}}
{{- $taken := dict -}}
{{- range $name := list "webhook" "health" "pages" "opa" -}}
{{- $port := index $.Values.ports $name | int | toString -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "ports.%s and ports.%s are both %s" (index $taken $port) $name $port) -}}
{{- end -}}
{{- $_ := set $taken $port $name -}}
{{- end -}}
{{- if eq (dig "audit" "checkpoints" "configMap" "" .Values.config) (include "portcullis.fullname" .) -}}
{{- fail (printf "config.audit.checkpoints.configMap is %s, which is the ConfigMap of the configuration: take another name" (include "portcullis.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.guards.pullSecrets" -}}
{{- $listed := list -}}
{{- $watches := 0 -}}
{{- range .Values.pullSecrets -}}
{{- if has .namespace $listed -}}
{{- fail (printf "pullSecrets lists the namespace %s twice: put all names into one entry" .namespace) -}}
{{- end -}}
{{- $listed = append $listed .namespace -}}
{{- $watches = add $watches 1 (max 1 (len (.names | default list))) -}}
{{- end -}}
{{- $limit := dig "limits" "pullSecretWatches" 200 .Values.config | int -}}
{{- if gt (int $watches) $limit -}}
{{- fail (printf "pullSecrets takes %d watches, more than config.limits.pullSecretWatches of %d: leave out names, a namespace without them takes two" (int $watches) $limit) -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.guards.pages" -}}
{{- $pages := (.Values.config.audit | default dict).pages | default dict -}}
{{- if .Values.pages.service.enabled -}}
{{- if not (or (hasKey $pages "tokens") (hasKey $pages "proxy")) -}}
{{- fail "pages.service.enabled is true, but config.audit.pages does not say who may read: set tokens (a login with a Kubernetes token) or proxy (an authenticating proxy)" -}}
{{- end -}}
{{- if eq (toString $pages.enabled) "false" -}}
{{- fail "pages.service.enabled is true, but config.audit.pages.enabled is false" -}}
{{- end -}}
{{- end -}}
{{- if and (include "portcullis.replicated" .) (hasKey $pages "tokens") (not ($pages.tokens | default dict).sessionKeyFile) -}}
{{- fail (printf "%s, but config.audit.pages.tokens has no sessionKeyFile: each replica would know its own sessions only" (include "portcullis.replicasSaid" .)) -}}
{{- end -}}
{{- end -}}

{{/* Keys of the configuration that the chart sets, under config and in the environment. */}}
{{- define "portcullis.guards.owned" -}}
{{- $owned := dict
      "server.address" "it is always 0.0.0.0"
      "server.port" "set ports.webhook instead"
      "server.healthAddress" "it is always 0.0.0.0"
      "server.healthPort" "set ports.health instead"
      "server.tls" "set tls.existingSecret or tls.certManager instead"
      "server.pathSegment" "the gate makes one"
      "cluster.webhook" "set webhook.standDown instead"
      "cluster.pullSecrets" "set pullSecrets instead"
      "cluster.mutation" "set mutation.enabled instead"
      "cluster.caller.pathSecret" "the chart makes that Secret"
      "cluster.caller.clientCertificate" "set caller.clientCertificate instead"
      "cluster.events" "set events.enabled instead"
      "cluster.recheck" "set recheck instead"
      "cluster.breakGlass" "set breakGlass.enabled instead"
      "audit.pages.address" "set pages.service.enabled instead"
      "audit.pages.port" "set ports.pages instead"
      "policies.configMaps" "set policies.configMaps of the chart instead" -}}
{{- range $key, $instead := $owned -}}
{{- $section := $.Values.config -}}
{{- range initial (splitList "." $key) -}}
{{- $section = index $section . | default dict -}}
{{- end -}}
{{- if hasKey $section (last (splitList "." $key)) -}}
{{- fail (printf "config.%s is set by the chart: %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- $elsewhere := merge $owned (dict "audit.database" "set config.audit.database instead" "opa.address" "set opa.mode and config.opa.address instead") -}}
{{- range $name := list "stopDelaySeconds" "drainSeconds" -}}
{{- $_ := set $elsewhere (printf "server.%s" $name) (printf "set config.server.%s instead" $name) -}}
{{- end -}}
{{- range $name := list "modes" "namespaces" "folders" -}}
{{- $_ := set $elsewhere (printf "policies.%s" $name) (printf "set config.policies.%s instead" $name) -}}
{{- end -}}
{{- range $variable := .Values.extraEnv -}}
{{- /* As the program reads it: case and _ within a name do not matter; PORTCULLIS_SERVER is all of server. */ -}}
{{- $path := "" -}}
{{- if hasPrefix "PORTCULLIS_" $variable.name -}}
{{- $path = trimPrefix "PORTCULLIS_" $variable.name | replace "__" "." | replace "_" "" | lower -}}
{{- end -}}
{{- range $key, $instead := $elsewhere -}}
{{- $key := lower $key -}}
{{- if and $path (or (eq $path $key) (hasPrefix (printf "%s." $key) $path) (hasPrefix (printf "%s." $path) $key)) -}}
{{- fail (printf "extraEnv sets %s, which is set by the chart: %s" $variable.name $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.guards.webhook" -}}
{{- if and .Values.mutation.owners (not .Values.mutation.enabled) -}}
{{- fail "mutation.owners is true, but mutation.enabled is false: the pods that owners make would stay unpinned" -}}
{{- end -}}
{{- if and (eq .Values.profile "audit") (eq .Values.webhook.failurePolicy "Fail") -}}
{{- fail "webhook.failurePolicy is Fail, but profile audit refuses nothing: set profile to enforce" -}}
{{- end -}}
{{- $groups := list -}}
{{- range dig "cluster" "podSpecPaths" list .Values.config -}}
{{- $groups = append $groups .group -}}
{{- end -}}
{{- $ruled := list -}}
{{- range .Values.webhook.extraRules -}}
{{- $ruled = concat $ruled .apiGroups -}}
{{- end -}}
{{- range $ruled -}}
{{- if not (has . $groups) -}}
{{- fail (printf "webhook.extraRules has the API group %q, but config.cluster.podSpecPaths does not say where its kinds keep their pods: they would be admitted unseen" .) -}}
{{- end -}}
{{- end -}}
{{- range $groups -}}
{{- if not (has . $ruled) -}}
{{- fail (printf "config.cluster.podSpecPaths has the API group %q, but no rule of webhook.extraRules sends its objects to the gate" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
