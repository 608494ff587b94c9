"""What changes while the gate runs: policies that are swapped in, and the objects of the cluster that it watches."""
