package portcullis.lib.vex_test

import rego.v1

import data.portcullis.lib.vex

mark(more) := {"vex": object.union(
	{
		"status": "not_affected",
		"justification": "component_not_present",
		"signer": {"name": "release"},
		"expired": false,
	},
	more,
)}

test_favourable_ones_set_aside if {
	every status in {"not_affected", "fixed"} {
		vex.aside(mark({"status": status}))
		not vex.ended(mark({"status": status}))
	}
}

test_nothing_else_does if {
	odd := [
		{},
		null,
		7,
		[],
		{"vex": null},
		{"vex": "not_affected"},
		mark({"status": "affected"}),
		mark({"status": "under_investigation"}),
		mark({"status": "Fixed"}),
		mark({"status": null}),
		mark({"expired": true}),
		mark({"expired": null}),
		mark({"expired": "false"}),
		json.remove(mark({}), ["vex/expired"]),
	]
	every finding in odd {
		not vex.aside(finding)
	}
}

test_ended if {
	every one in [mark({"expired": true}), mark({"expired": null}), json.remove(mark({}), ["vex/expired"])] {
		vex.ended(one)
	}
	not vex.ended(mark({"status": "affected", "expired": true}))
	not vex.ended({"vex": null})
}

test_ground if {
	vex.ground(mark({})) == "not_affected (component_not_present), said by release"
	vex.ground(mark({"justification": "", "signer": null})) == "not_affected, said by an unknown signer"
	vex.ground(mark({"status": "fixed", "justification": null})) == "fixed, said by release"
}
