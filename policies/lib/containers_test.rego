package portcullis.lib.containers_test

import rego.v1

import data.portcullis.lib.containers

odd := {"containers": [
	{"name": "a", "image": "i", "kind": "container", "path": "p"},
	{"image": "i"},
	{"kind": "init"},
	{"name": false},
	{"kind": "volume", "name": "v"},
]}

test_every_container_is_seen if {
	containers.all == {0, 1, 2, 3, 4} with input as odd
	containers.running == {0, 1, 2, 3} with input as odd
}

test_what_is_absent_or_of_a_wrong_type_is_empty if {
	containers.violation(3, {"msg": "m"}) == {"container": "", "image": "", "msg": "m"} with input as odd
	containers.path(3) == "" with input as odd
	containers.violation(0, {}) == {"container": "a", "image": "i"} with input as odd
}
