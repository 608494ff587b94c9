{{/*
The hosts that the configuration names, as a JSON list of {key, host, port, needed}: key is where in config it stands,
needed whether the gate is held to it (a store, a registry) or only tells it something (a sink).
*/}}
{{- define "portcullis.hosts" -}}
{{- $config := .Values.config -}}
{{- $found := list -}}
{{- with dig "audit" "database" "" $config -}}
{{- if hasPrefix "postgresql" . -}}
{{- $found = append $found (dict "key" "audit.database" "at" (include "portcullis.authority" .) "port" 5432 "needed" true) -}}
{{- end -}}
{{- end -}}
{{- with dig "opa" "address" "" $config -}}
{{- if hasPrefix "http" . -}}
{{- $found = append $found (dict "key" "opa.address" "at" (include "portcullis.authority" .) "port" 8181 "needed" true) -}}
{{- end -}}
{{- end -}}
{{- $found = concat $found (include "portcullis.registryHosts" . | fromJsonArray) -}}
{{- range $number, $bundle := dig "policies" "bundles" list $config -}}
{{- $found = append $found (dict "key" (printf "policies.bundles.%d.url" $number) "at" (include "portcullis.authority" $bundle.url) "port" (hasPrefix "https" $bundle.url | ternary 443 80) "needed" true) -}}
{{- end -}}
{{- range $number, $sink := dig "audit" "sinks" list $config -}}
{{- with dig "otlp" "endpoint" "" $sink -}}
{{- $found = append $found (dict "key" (printf "audit.sinks.%d.otlp.endpoint" $number) "at" (include "portcullis.authority" .) "port" (hasPrefix "https" . | ternary 443 80) "needed" false) -}}
{{- end -}}
{{- end -}}
{{- with dig "telemetry" "traces" "endpoint" "" $config -}}
{{- $found = append $found (dict "key" "telemetry.traces.endpoint" "at" (include "portcullis.authority" .) "port" (hasPrefix "https" . | ternary 443 80) "needed" false) -}}
{{- end -}}
{{- $whole := list -}}
{{- range $found -}}
{{- $port := regexFind ":[0-9]+$" .at | trimPrefix ":" -}}
{{- $whole = append $whole (dict "key" .key "host" (regexReplaceAll ":[0-9]+$" .at "" | lower) "port" ($port | default .port | int) "needed" .needed) -}}
{{- end -}}
{{- $whole | toJson -}}
{{- end -}}

{{/*
Of registries: those that are listed, mirrors, hosts with settings, where attestations lie, and the proxy that leads to
them.
*/}}
{{- define "portcullis.registryHosts" -}}
{{- $registries := .Values.config.registries | default dict -}}
{{- $found := list -}}
{{- range $name := $registries.allowed -}}
{{- $found = append $found (dict "key" "registries.allowed" "at" $name) -}}
{{- end -}}
{{- range $name, $_ := $registries.hosts -}}
{{- $found = append $found (dict "key" "registries.hosts" "at" $name) -}}
{{- end -}}
{{- with $registries.default -}}
{{- $found = append $found (dict "key" "registries.default" "at" .) -}}
{{- end -}}
{{- range $name, $mirrors := $registries.mirrors -}}
{{- range $mirrors -}}
{{- $mirror := kindIs "string" . | ternary . (index (kindIs "map" . | ternary . dict) "endpoint" | default "") -}}
{{- $found = append $found (dict "key" (printf "registries.mirrors.%s" $name) "at" (regexFind "^[^/]*" $mirror)) -}}
{{- end -}}
{{- end -}}
{{- range $number, $place := dig "trust" "repositories" list .Values.config -}}
{{- $found = append $found (dict "key" (printf "trust.repositories.%d" $number) "at" (regexFind "^[^/]*" ($place.repository | default ""))) -}}
{{- end -}}
{{- $whole := list -}}
{{- range $found -}}
{{- $plain := dig .at "insecure" false ($registries.hosts | default dict) -}}
{{- $whole = append $whole (merge (dict "port" ($plain | ternary 80 443) "needed" true) .) -}}
{{- end -}}
{{- range $scheme := list "https" "http" -}}
{{- with dig "proxy" $scheme "" $registries -}}
{{- $whole = append $whole (dict "key" (printf "registries.proxy.%s" $scheme) "at" (include "portcullis.authority" .) "port" (hasPrefix "https" . | ternary 443 80) "needed" true) -}}
{{- end -}}
{{- end -}}
{{- $whole | toJson -}}
{{- end -}}

{{/* host[:port] of a URL. */}}
{{- define "portcullis.authority" -}}
{{- regexReplaceAll "^[a-z0-9+.]+://([^/?#]*@)?([^/?#@]*).*$" . "${2}" -}}
{{- end -}}

{{/* Ports of these hosts beside those that are open anyway, as a JSON list. */}}
{{- define "portcullis.namedPorts" -}}
{{- $ports := list -}}
{{- range include "portcullis.hosts" . | fromJsonArray -}}
{{- $port := int .port -}}
{{- if not (or (has $port (list 443 6443)) (has $port $ports)) -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- $ports | toJson -}}
{{- end -}}

{{/*
A Service in a namespace that the gate judges and, while it cannot be reached, keeps closed: once both are down, its
pods wait for the gate, and the gate waits for them.
*/}}
{{- define "portcullis.guards.circles" -}}
{{- if eq (include "portcullis.failurePolicy" .) "Fail" -}}
{{- $exempt := include "portcullis.exemptNamespaces" . | fromJsonArray -}}
{{- range include "portcullis.hosts" . | fromJsonArray -}}
{{- $namespace := regexReplaceAll "^.*[.]([a-z0-9-]+)[.]svc([.].*)?$" .host "${1}" -}}
{{- if and (ne $namespace .host) (not (has $namespace $exempt)) -}}
{{- fail (printf "config.%s names %s, a Service in namespace %s, whose pods the gate judges: where both are down, its pods are refused until the gate is back (webhook.failurePolicy is Fail), and the gate %s. Add %s to webhook.exemptNamespaces, or move it out of the cluster" .key .host $namespace (.needed | ternary "needs it to be whole again" "has nowhere to tell of it") $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
