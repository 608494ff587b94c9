# METADATA
# title: Images hold no packages that are ruled out, by their SBOM
# description: |
#   No verified SBOM of the image lists a package or a licence that the parameters deny. Without such a list every image
#   passes; with one, an image needs an SBOM for every platform. It counts only where the configuration names it, under
#   enabled or parameters, since it needs the components of every SBOM.
# custom:
#   severity: medium
#   mode: warn
#   category: evidence
#   onRequest: true
package portcullis.policies.sbom_packages

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.packages
import data.portcullis.lib.parameters
import data.portcullis.lib.patterns
import data.portcullis.lib.sboms
import data.portcullis.lib.signed
import data.portcullis.lib.text

shape := {
	"deniedPackages": {"type": "strings", "default": []},
	"deniedLicenses": {"type": "strings", "default": []},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("sbom-packages", shape)

licenses := [lower(pattern) | some pattern in settings.deniedLicenses]

deny contains violation if {
	some violation in parameters.faults("sbom-packages", shape)
}

deny contains violation if {
	some problem in union({
		exemptions.faults(settings.exempt, ["images"]),
		patterns.faults("deniedPackages", settings.deniedPackages),
		patterns.faults("deniedLicenses", settings.deniedLicenses),
	})
	violation := parameters.violation("sbom-packages", problem)
}

deny contains violation if {
	count(settings.deniedPackages) + count(settings.deniedLicenses) > 0
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	bills := object.get(sboms.of, written, {})
	wrong := object.get(faults, written, {})
	not signed.all_good(written, bills, wrong)
	some problem in signed.blamed(written, "sbom", bills, wrong)
	violation := containers.violation(i, problem)
}

faults[written][b] := union({unread(written, b), ruled_out(written, b), licensed(written, b)}) if {
	some written, bills in sboms.of
	some b, _ in bills
}

unread(written, b) := {{"reason": "sbom-unread", "msg": msg, "fix": "make the SBOM again and attach it signed"} |
	not is_read(written, b)
	msg := "has an SBOM whose components are not known"
}

is_read(written, b) if {
	is_array(input.images[written].sboms[b].components)
	every component in input.images[written].sboms[b].components {
		is_object(component)
	}
}

ruled_out(written, b) := {{"reason": "sbom-package-denied", "msg": msg, "fix": fix, "more": {"packages": array.slice(found, 0, 20)}} |
	is_read(written, b)
	found := sort({label(component) |
		some component in input.images[written].sboms[b].components
		packages.any(settings.deniedPackages, object.get(component, "name", ""), object.get(component, "purl", ""))
	})
	count(found) > 0
	msg := sprintf("holds packages that are ruled out: %s", [text.listed(found, 3)])
	fix := "build the image without them"
}

licensed(written, b) := {{"reason": "sbom-license-denied", "msg": msg, "fix": fix, "more": {"packages": array.slice(found, 0, 20)}} |
	is_read(written, b)
	found := sort({sprintf("%s (%s)", [label(component), text.short(license, 40)]) |
		some component in input.images[written].sboms[b].components
		some license in component.licenses
		denied(license)
	})
	count(found) > 0
	msg := sprintf("holds packages with licences that are ruled out: %s", [text.listed(found, 3)])
	fix := "build the image without them"
}

# Of an expression such as "MIT OR GPL-3.0-only" each licence counts.
denied(license) if {
	is_string(license)
	some name in array.concat([license], regex.split(`[\s()]+`, license))
	patterns.any(licenses, lower(name))
}

label(component) := trim_space(sprintf("%s %s", [
	text.short(object.get(component, "name", ""), 40),
	text.short(object.get(component, "version", ""), 20),
]))
