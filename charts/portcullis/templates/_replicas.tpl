{{/* Whether there may be more than one replica: "true" or "". */}}
{{- define "portcullis.replicated" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}

{{/* What makes more than one of them, in the words of a message. */}}
{{- define "portcullis.replicasSaid" -}}
{{- .Values.autoscaling.enabled | ternary "autoscaling.enabled is true" (printf "replicas is %d" (int .Values.replicas)) -}}
{{- end -}}

{{/* The fewest replicas that there are at rest. */}}
{{- define "portcullis.fewestReplicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicas | int -}}
{{- end -}}

{{/* topologySpreadConstraints with the labels of the gate's pods, where one says no others. */}}
{{- define "portcullis.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "portcullis.selectorLabels" . | fromYaml)) -}}
{{- $whole := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $whole = append $whole (hasKey . "labelSelector" | ternary . (merge (deepCopy $own) .)) -}}
{{- end -}}
{{- toYaml $whole -}}
{{- end -}}

{{- define "portcullis.guards.replicas" -}}
{{- with .Values.autoscaling -}}
{{- if .enabled -}}
{{- if gt (int $.Values.replicas) 1 -}}
{{- fail (printf "replicas is %d, but autoscaling.enabled is true, and says how many there are: leave replicas out" (int $.Values.replicas)) -}}
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas is %d, but autoscaling.maxReplicas is %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" $.Values.resources) -}}
{{- fail "autoscaling.targetCPUUtilizationPercentage is a share of what is requested, but resources.requests.cpu is not set" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $fewest := include "portcullis.fewestReplicas" . | int -}}
{{- $away := .Values.podDisruptionBudget.maxUnavailable | toString -}}
{{- if and .Values.podDisruptionBudget.enabled (gt $fewest 1) (regexMatch "^[0-9]+$" $away) (ge (int $away) $fewest) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %s, and there are %d replicas: a drain could take all of them at once" $away $fewest) -}}
{{- end -}}
{{- end -}}
