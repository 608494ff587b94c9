# METADATA
# title: Signed facts of an image
# description: |
#   What SBOMs, provenance, lint reports and signatures have in common: a platform (null: the whole image), a signer, an
#   age. "records" is an object from index to fact, "faults" one from the same index to what is wrong with that fact:
#   objects with reason, msg, fix and perhaps more.
package portcullis.lib.signed

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.platforms
import data.portcullis.lib.text

# Clocks differ; a fact may be this much in the future, in hours.
skew := 5 / 60

# -- what is good ----------------------------------------------------------------------------------------------------

# Every platform has a fact with nothing wrong.
some_good(written, records, faults) if {
	count(platforms.of[written]) > 0
	every j in platforms.of[written] {
		count(sound(written, j, records, faults)) > 0
	}
}

# Every platform has facts, and nothing is wrong with any of them.
all_good(written, records, faults) if {
	some_good(written, records, faults)
	every j in platforms.of[written] {
		count(about(written, j, records)) == count(sound(written, j, records, faults))
	}
}

about(written, j, records) := {n |
	some n, record in records
	object.get(record, "platform", false) in {null, input.images[written].platforms[j].platform}
}

sound(written, j, records, faults) := {n |
	some n in about(written, j, records)
	faults[n] == set()
}

# -- words -----------------------------------------------------------------------------------------------------------

# What is wrong with an image without a good fact: of several facts the one that lacks least is told.
lacking(written, class, records, faults) := told(written, class, {[j, fault] |
	some j in object.get(platforms.of, written, set())
	some fault in nearest(written, j, class, records, faults)
})

# What is wrong with an image where every fact must be good.
blamed(written, class, records, faults) := told(written, class, {[j, fault] |
	some j in object.get(platforms.of, written, set())
	some fault in each(written, j, class, records, faults)
})

nearest(written, j, class, records, _) := {off_platform(written, j, class, records)} if {
	count(about(written, j, records)) == 0
}

nearest(written, j, _, records, faults) := set() if count(sound(written, j, records, faults)) > 0

nearest(written, j, _, records, faults) := faults[chosen] if {
	count(about(written, j, records)) > 0
	count(sound(written, j, records, faults)) == 0
	fewest := min({count(faults[n]) | some n in about(written, j, records)})
	chosen := min({n | some n in about(written, j, records); count(faults[n]) == fewest})
}

each(written, j, class, records, _) := {off_platform(written, j, class, records)} if {
	count(about(written, j, records)) == 0
}

each(written, j, _, records, faults) := {fault | some n in about(written, j, records); some fault in faults[n]} if {
	count(about(written, j, records)) > 0
}

# One violation for each fault, with the first platform that has it where others have not.
told(written, _, blamed) := {said(fault, platforms.place(written, js)) |
	some [_, fault] in blamed
	js := {j | some [j, other] in blamed; other == fault}
} if {
	count(blamed) > 0
}

told(written, class, blamed) := {said(attestations.none(written, class), {})} if count(blamed) == 0

said(fault, place) := object.union(
	{
		"msg": text.short(fault.msg, 300),
		"fix": fault.fix,
		"details": object.union({"reason": fault.reason}, object.get(fault, "more", {})),
	},
	place,
)

off_platform(written, j, class, records) := attestations.none(written, class) if {
	count(records) == 0
	_ = input.images[written].platforms[j]
}

off_platform(written, j, class, records) := {"reason": "evidence-platform-missing", "msg": msg, "fix": fix} if {
	count(records) > 0
	names := sort({name | some record in records; name := text.short(object.get(record, "platform", null), 40)})
	msg := sprintf("has %s of %s, none of %s", [
		attestations.kinds[class].one,
		text.listed(names, 3),
		platform_name(written, j),
	])
	fix := attestations.attach(class)
}

default platform_name(_, _) := "another platform"

platform_name(written, j) := text.short(input.images[written].platforms[j].platform, 40)

# -- faults that any fact may have -----------------------------------------------------------------------------------

default signer(_) := "an unknown signer"

signer(record) := text.short(record.signer.name, 40) if is_string(record.signer.name)

stranger(_, _, []) := set()

stranger(record, what, names) := {{"reason": "attestation-untrusted", "msg": msg, "fix": fix} |
	not signed_by(record, names)
	msg := sprintf("%s signed by %s, not by %s", [is(what), signer(record), text.listed(names, 3)])
	fix := sprintf("have the %s signed by a signer that the policy's parameter names", [what])
} if {
	count(names) > 0
}

is("signature") := "is"

is(what) := sprintf("its %s is", [what]) if what != "signature"

signed_by(record, names) if record.signer.name in names

aged(_, _, null) := set()

aged(record, what, most) := {fault |
	not recent(record, most)
	fault := age_fault(object.get(record, "ageHours", null), what, most)
} if {
	is_number(most)
}

recent(record, most) if {
	is_number(record.ageHours)
	record.ageHours <= most
	record.ageHours >= 0 - skew
}

age_fault(age, what, most) := {"reason": "evidence-time-unknown", "msg": msg, "fix": fix} if {
	not is_number(age)
	is_number(most)
	msg := sprintf("its %s does not say when it was made", [what])
	fix := sprintf("attach one of a tool that writes the time into the %s", [what])
}

age_fault(age, what, most) := {"reason": "evidence-stale", "msg": msg, "fix": fix} if {
	is_number(age)
	age > most
	msg := sprintf("its %s is %s old; the limit is %s", [what, text.span(age), text.span(most)])
	fix := sprintf("make the %s again and attach it signed", [what])
}

age_fault(age, what, _) := {"reason": "evidence-in-future", "msg": msg, "fix": fix} if {
	is_number(age)
	age < 0
	msg := sprintf("its %s says that it was made in the future", [what])
	fix := sprintf("make the %s again where the clock is right", [what])
}
