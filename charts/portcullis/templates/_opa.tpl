{{/*
OPA beside the gate (opa.mode). A sidecar begins before the gate and ends after it, as Kubernetes has it for init
containers that are started again always: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
*/}}

{{/* Where the socket of the sidecar lies: in a volume that the two containers share, and nobody else. */}}
{{- define "portcullis.opaSocket" -}}unix:///run/opa/opa.sock{{- end -}}

{{/* Bytes of a quantity of memory, or "" where it is written in a way that is not known here. */}}
{{- define "portcullis.bytes" -}}
{{- $text := . | toString -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if regexMatch "^[0-9]+([.][0-9]+)?([kMGT]|[KMGT]i)?$" $text -}}
{{- $unit := regexFind "[kMGTKi]*$" $text -}}
{{- mulf (trimSuffix $unit $text | float64) (index $units $unit) | floor | int64 -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.opaContainer" -}}
- name: opa
  image: {{ include "portcullis.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  command: [opa]
  args:
    - run
    - --server
    - --addr={{ include "portcullis.opaSocket" . }}
    - --unix-socket-perm=600
    # Health and OPA's own metrics, nothing else.
    - --diagnostic-addr=0.0.0.0:{{ .Values.ports.opa }}
    - --skip-version-check
    - --log-level=error
    - --shutdown-grace-period=1
  env:
    - name: TZ
      value: UTC
    {{- with include "portcullis.bytes" (dig "limits" "memory" "" .Values.opa.resources) }}
    # Where Go collects garbage harder: the container's limit is not Go's.
    - name: GOMEMLIMIT
      value: {{ mulf . 0.8 | floor | int64 | quote }}
    {{- end }}
  ports:
    - name: opa
      containerPort: {{ .Values.ports.opa }}
  # The gate is started once this has succeeded, and publishes its policies then. After a restart OPA is empty: the gate
  # sees it with the next question, and publishes them again.
  startupProbe:
    httpGet: {path: /health, port: opa}
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health, port: opa}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- with .Values.opa.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "portcullis.containerSecurity" . | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: opa
      mountPath: /run/opa
{{- end -}}

{{- define "portcullis.guards.opa" -}}
{{- $opa := .Values.config.opa | default dict -}}
{{- $mode := .Values.opa.mode -}}
{{- if and (eq $mode "remote") (not $opa.address) -}}
{{- fail "opa.mode is remote, but config.opa.address does not say where OPA is" -}}
{{- end -}}
{{- if and (ne $mode "remote") $opa.address -}}
{{- fail (printf "config.opa.address is set, but opa.mode is %s: set it to remote, or leave the address out" $mode) -}}
{{- end -}}
{{- if eq $mode "sidecar" -}}
{{- range $key := list "insecure" "tokenFile" "caFile" -}}
{{- if index $opa $key -}}
{{- fail (printf "config.opa.%s is for an OPA of others, but opa.mode is sidecar: its socket is reached by the gate alone" $key) -}}
{{- end -}}
{{- end -}}
{{- $own := include "portcullis.bytes" (dig "limits" "memory" "" .Values.resources) -}}
{{- $its := include "portcullis.bytes" (dig "limits" "memory" "" .Values.opa.resources) -}}
{{- if and $own $its (lt (mulf $its 2) (float64 $own)) -}}
{{- fail (printf "opa.resources.limits.memory is %v, but the gate gives OPA as much work as fits into half of its own limit, %v: raise the former or lower resources.limits.memory" .Values.opa.resources.limits.memory .Values.resources.limits.memory) -}}
{{- end -}}
{{- end -}}
{{- end -}}
