package portcullis.lib.contents_test

import rego.v1

import data.portcullis.lib.contents
import data.portcullis.lib.fixtures_test as fixtures

test_each_list_is_the_one_of_that_name if {
	every class in [
		"shells",
		"buildTools",
		"packageManagers",
		"downloadTools",
		"setuid",
		"worldWritable",
		"secrets",
		"vcs",
		"caches",
		"tests",
	] {
		one := fixtures.found(class, {})
		contents.list(class, fixtures.image, 0) == [one] with input as fixtures.holding({class: [one]})
	}
}

test_where_a_finding_is if {
	contents.state(fixtures.found("/x", {})) == "present"
	contents.state(fixtures.found("/x", {"deleted": true})) == "deleted"
	contents.state(fixtures.found("", {})) == "history"
	contents.state(fixtures.found("", {"deleted": true})) == "history"
}

test_paths_fit_into_a_line if {
	contents.path(fixtures.found("/usr/bin/g++", {})) == "/usr/bin/g++"
	contents.path(fixtures.found("/a b", {})) == `"/a b"`
	contents.path(fixtures.found("/a\nb\u001b[0m", {})) == `"/a\nb\x1b[0m"`
	long := concat("", ["/", concat("/", [x | some _ in numbers.range(1, 500); x := "aaaaaaaa"])])
	count(contents.path(fixtures.found(long, {}))) == 64
}

lines := {
	"RUN /bin/sh -c apt-get install -y gcc # buildkit": "RUN apt-get install -y gcc",
	"/bin/sh -c apt-get  install\t-y gcc": "RUN apt-get install -y gcc",
	`/bin/sh -c #(nop)  CMD ["bash"]`: `CMD ["bash"]`,
	"/bin/sh -c #(nop) COPY file:0a1b in / ": "COPY file:0a1b in /",
	"COPY --chown=app:app . /app # buildkit": "COPY --chown=… . /app",
	"COPY . /app # buildkit": "COPY . /app",
	"RUN |2 NPM_TOKEN=npm_s3cret VERSION=1 /bin/sh -c npm ci # buildkit": "RUN npm ci",
	"|1 NPM_TOKEN=npm s3cret /bin/sh -c npm ci": "RUN npm ci",
	"RUN |1 NPM_TOKEN=s3cret /busybox/ash -c npm ci": "RUN",
	"RUN /bin/sh -c TOKEN=s3cret PASS='s3 cret' KEY=\"s3 cret\" make": "RUN TOKEN=… PASS=… KEY=… make",
	"RUN /bin/sh -c KEY='s3cret": "RUN KEY=…",
	"RUN /bin/sh -c git clone https://bot:s3cret@git.example/x": "RUN git clone https://…@git.example/x",
	`RUN /bin/sh -c curl -H "Authorization: Bearer s3cret" x`: `RUN curl -H "Authorization: Bearer … x`,
	"RUN /bin/sh -c login --password s3cret": "RUN login --password …",
	"": "",
}

test_lines_of_the_history_are_short_and_tell_no_secret if {
	every line, shown in lines {
		contents.step(line) == shown
	}
}

test_the_line_is_told_where_all_come_from_one_layer if {
	line := "COPY . /app # buildkit"
	a := fixtures.found("/a/thing", {"layerIndex": 1, "createdBy": line})
	b := fixtures.found("/b/thing", {"layerIndex": 1, "createdBy": line})
	contents.told([a, b]).shown == `/a/thing, /b/thing (from layer 1, "COPY . /app")`
	contents.told([a, object.union(b, {"layerIndex": 0})]).shown == "/a/thing, /b/thing (from layers 0, 1)"
	many := [fixtures.found("/thing", {"layerIndex": n}) | some n in numbers.range(0, 9)]
	contents.told(many).shown == "/thing, /thing, /thing and 7 more (from layers 0, 1, 2, 3 and 6 more)"
}

test_what_a_path_does_not_tell_is_added if {
	contents.described(fixtures.found("/usr/bin/gcc-14", {"what": "gcc"})) == "/usr/bin/gcc-14"
	contents.described(fixtures.found("/bin/sh", {"what": "busybox"})) == "/bin/sh (busybox)"
	all := fixtures.found("/x", {"what": "cache", "count": 3, "deleted": true})
	contents.described(all) == "/x (cache, 3 files, deleted by a later layer)"
}

# However hostile an image is, a message stays far below what the gate takes (messageChars, 2000).
test_messages_are_bounded if {
	long := concat("", [x | some _ in numbers.range(1, 1000); x := "\u0001"])
	worst := [fixtures.found(long, {"what": long, "createdBy": long, "count": 9}) | some _ in [1, 2, 3]]
	count(contents.told(worst).shown) < 1500
	count(contents.told(worst).paths) < 1500
}
