"""What is asked: AdmissionReview in and out, and the pod-carrying part of what is admitted."""
