{{- define "barograph.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "barograph.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "barograph.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "barograph.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What selectors use; never changes between versions. */ -}}
{{- define "barograph.selector" -}}
app.kubernetes.io/name: barograph
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: database
{{- end -}}

{{- define "barograph.labels" -}}
{{ include "barograph.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "barograph.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "barograph.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed without serviceAccount.create" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "barograph.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* An option's environment variable: store.data_dir is BAROGRAPH_STORE_DATA_DIR. */ -}}
{{- define "barograph.variable" -}}
BAROGRAPH_{{ regexReplaceAll "[^a-zA-Z0-9]" . "_" | upper }}
{{- end -}}

{{- /* Numbers in values are floating point: 1048576 must not become 1.048576e+06. */ -}}
{{- define "barograph.option" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- define "barograph.config" -}}
BAROGRAPH_STORE_MODE: {{ .Values.mode }}
{{- if eq .Values.mode "durable" }}
BAROGRAPH_STORE_DATA_DIR: /data
{{- end }}
{{- range $key, $value := .Values.config }}
{{ include "barograph.variable" $key }}: {{ include "barograph.option" $value | quote }}
{{- end }}
{{- end -}}

{{- define "barograph.secretName" -}}
{{- default (include "barograph.fullname" .) .Values.secret.existing -}}
{{- end -}}

{{- /* Names of options in the Secret, one a line. */ -}}
{{- define "barograph.secretKeys" -}}
{{- if .Values.secret.existing -}}
{{- join "\n" .Values.secret.keys -}}
{{- else -}}
{{- join "\n" (keys .Values.secret.values | sortAlpha) -}}
{{- end -}}
{{- end -}}

{{- /* What the schema cannot say, because it spans values. */ -}}
{{- define "barograph.check" -}}
{{- $drain := get .Values.config "server.drain" | default "10s" | toString -}}
{{- $delay := get .Values.config "server.drain_delay" | default "0s" | toString -}}
{{- if and (regexMatch "^[0-9]+s$" $drain) (regexMatch "^[0-9]+s$" $delay) -}}
{{- if ge (add (trimSuffix "s" $drain | int) (trimSuffix "s" $delay | int) | int) (int .Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be longer than server.drain_delay (%s) and server.drain (%s) together" (int .Values.terminationGracePeriodSeconds) $delay $drain) -}}
{{- end -}}
{{- end -}}
{{- if and (get .Values.config "self.forward") .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "self.forward needs networkPolicy.egress: rules for DNS and for the server that is sent the statistics" -}}
{{- end -}}
{{- if and .Values.secret.existing .Values.secret.values -}}
{{- fail "secret.existing and secret.values exclude each other" -}}
{{- end -}}
{{- if and .Values.secret.existing (not .Values.secret.keys) -}}
{{- fail "secret.existing needs secret.keys: the names of the options that the Secret holds" -}}
{{- end -}}
{{- range $key := splitList "\n" (include "barograph.secretKeys" .) -}}
{{- if hasKey $.Values.config $key -}}
{{- fail (printf "%s is both in config and in the secret" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "barograph.pod" -}}
metadata:
  labels:
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "barograph.selector" . | nindent 4 }}
    app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  annotations:
    # A change of the configuration starts the pod anew.
    barograph.io/config: {{ include "barograph.config" . | sha256sum }}
    {{- if .Values.secret.values }}
    barograph.io/secret: {{ toJson .Values.secret.values | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "barograph.serviceAccount" . }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    {{- with .Values.userId }}
    runAsUser: {{ int64 . }}
    runAsGroup: {{ int64 . }}
    fsGroup: {{ int64 . }}
    {{- end }}
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: barograph
      image: {{ include "barograph.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
      envFrom:
        - configMapRef:
            name: {{ include "barograph.fullname" . }}
      {{- with include "barograph.secretKeys" . }}
      env:
        {{- range splitList "\n" . }}
        - name: {{ include "barograph.variable" . }}_FILE
          value: /run/secrets/barograph/{{ . }}
        {{- end }}
      {{- end }}
      ports:
        - name: tsdb
          containerPort: 4242
          protocol: TCP
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop:
            - ALL
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      startupProbe:
        httpGet:
          path: /ready
          port: tsdb
        {{- toYaml .Values.startupProbe | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /ready
          port: tsdb
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /health
          port: tsdb
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      {{- $secret := include "barograph.secretKeys" . }}
      {{- if or $secret (eq .Values.mode "durable") }}
      volumeMounts:
        {{- if eq .Values.mode "durable" }}
        - name: data
          mountPath: /data
        {{- end }}
        {{- if $secret }}
        - name: secret
          mountPath: /run/secrets/barograph
          readOnly: true
        {{- end }}
      {{- end }}
  {{- if include "barograph.secretKeys" . }}
  volumes:
    - name: secret
      secret:
        secretName: {{ include "barograph.secretName" . }}
        defaultMode: 0440
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}
