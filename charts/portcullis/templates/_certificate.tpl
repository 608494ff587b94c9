{{/* The names that the certificate is for, as a JSON list: of the webhook's Service, and of that of the pages. */}}
{{- define "portcullis.certificateNames" -}}
{{- $service := printf "%s.%s.svc" (include "portcullis.fullname" .) .Release.Namespace -}}
{{- $names := list $service (printf "%s.cluster.local" $service) -}}
{{- if .Values.pages.service.enabled -}}
{{- $names = concat $names (include "portcullis.pagesNames" . | fromJsonArray) -}}
{{- end -}}
{{- $names | toJson -}}
{{- end -}}

{{/* The Secret with a certificate that the gate does not make itself, or "". */}}
{{- define "portcullis.certificateSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- printf "%s-tls" (include "portcullis.fullname" . | trunc 240) -}}
{{- else -}}
{{- .Values.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Of the webhook configuration, as YAML; cert-manager writes the CA of the certificate that is named here. */}}
{{- define "portcullis.webhookAnnotations" -}}
{{- $annotations := .Values.webhook.annotations -}}
{{- if .Values.tls.certManager.enabled -}}
{{- $certificate := printf "%s/%s" .Release.Namespace (include "portcullis.fullname" .) -}}
{{- $annotations = merge (dict "cert-manager.io/inject-ca-from" $certificate) $annotations -}}
{{- end -}}
{{- with $annotations -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{- define "portcullis.guards.certificate" -}}
{{- $injectors := list -}}
{{- range $name, $_ := .Values.webhook.annotations -}}
{{- if hasPrefix "cert-manager.io/inject-" $name -}}
{{- $injectors = append $injectors $name -}}
{{- end -}}
{{- end -}}
{{- if .Values.tls.certManager.enabled -}}
{{- if .Values.tls.existingSecret -}}
{{- fail "tls.certManager.enabled is true, and tls.existingSecret names a certificate of somebody else: leave out one" -}}
{{- end -}}
{{- with $injectors -}}
{{- fail (printf "webhook.annotations has %s, but with tls.certManager.enabled the chart sets it" (first .)) -}}
{{- end -}}
{{- else if and $injectors (not .Values.tls.existingSecret) -}}
{{- fail (printf "webhook.annotations has %s, but without tls.existingSecret the gate writes the CA itself" (first $injectors)) -}}
{{- end -}}
{{- if and .Values.tls.existingSecret (not .Values.tls.caBundle) (not .Values.webhook.annotations) -}}
{{- fail "tls.existingSecret needs tls.caBundle, or an annotation in webhook.annotations by which an injector writes it: without it the API server trusts no such certificate" -}}
{{- end -}}
{{- if and .Values.tls.caBundle (not .Values.tls.existingSecret) -}}
{{- fail (printf "tls.caBundle is set, but without tls.existingSecret %s" (.Values.tls.certManager.enabled | ternary "cert-manager writes the CA" "the gate makes a CA of its own and writes that one")) -}}
{{- end -}}
{{- if and .Values.tls.caBundle (not (contains "-----BEGIN CERTIFICATE-----" (b64dec (nospace .Values.tls.caBundle)))) -}}
{{- fail "tls.caBundle is not a PEM certificate in base64" -}}
{{- end -}}
{{- end -}}
