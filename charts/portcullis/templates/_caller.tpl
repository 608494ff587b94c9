{{/* cluster.caller, as JSON: the path that the gate makes, and a client certificate where one is asked for. */}}
{{- define "portcullis.caller" -}}
{{- $caller := dict "pathSecret" (include "portcullis.sharedSecret" .) -}}
{{- if include "portcullis.clientAuthority" . -}}
{{- $names := .Values.caller.clientCertificate.commonNames -}}
{{- $_ := set $caller "clientCertificate" (dict "caFile" "/etc/portcullis/client-ca/ca.crt" "commonNames" $names) -}}
{{- end -}}
{{- toJson $caller -}}
{{- end -}}

{{/* The volume with the authority of client certificates, without its name; "" where none are asked for. */}}
{{- define "portcullis.clientAuthority" -}}
{{- $client := .Values.caller.clientCertificate -}}
{{- $items := list (dict "key" $client.key "path" "ca.crt") -}}
{{- if $client.configMap -}}
configMap: {{ dict "name" $client.configMap "items" $items | toJson }}
{{- else if $client.secret -}}
secret: {{ dict "secretName" $client.secret "items" $items "defaultMode" 0440 | toJson }}
{{- end -}}
{{- end -}}

{{- define "portcullis.guards.caller" -}}
{{- $client := .Values.caller.clientCertificate -}}
{{- if and $client.configMap $client.secret -}}
{{- fail "caller.clientCertificate: the authority lies either in a configMap or in a secret" -}}
{{- end -}}
{{- if and (or $client.configMap $client.secret) (not $client.commonNames) -}}
{{- fail "caller.clientCertificate.commonNames is empty: the authority may sign certificates of others too, so the name of the API server's must be given" -}}
{{- end -}}
{{- if and $client.commonNames (not (or $client.configMap $client.secret)) -}}
{{- fail "caller.clientCertificate.commonNames is set, but neither configMap nor secret says which authority signs the certificate" -}}
{{- end -}}
{{- end -}}
