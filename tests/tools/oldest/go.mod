module portcullis.dev/tests/tools/oldest

go 1.26.0

// The types of the oldest Kubernetes that the chart is for, of which schemas.py makes schemas.
require k8s.io/client-go v0.29.15
