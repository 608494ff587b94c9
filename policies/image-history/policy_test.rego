package portcullis.policies.image_history_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_history

failed contains violation.details.check if some violation in image_history.deny

good := [
	"ADD rootfs.tar.xz /",
	"RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*",
	"RUN apk add --no-cache tini",
	"WORKDIR /app",
	"COPY requirements.txt .",
	"RUN pip install --no-cache-dir -r requirements.txt",
	"COPY package.json package-lock.json ./web/",
	"RUN npm ci && npm cache clean --force",
	"COPY --chown=0:0 . .",
	"RUN pip install --no-cache-dir --no-deps .",
	"ARG VERSION=1.4",
	"USER 10001",
]

test_a_good_history_passes if {
	image_history.deny == set() with input as building.built(good)
}

# For each check, lines that fail it and no other; then lines that fail none.
failing := {
	"pip-cache": {
		["RUN pip install flask"],
		["RUN pip3.12 install flask && echo --no-cache-dir"],
		["RUN python3 -m pip install --upgrade pip"],
		["RUN /opt/venv/bin/pip --quiet install flask"],
		["RUN set -e; if true; then pip install flask; fi"],
		["RUN sudo=1 pip install flask"],
		["RUN pip install flask && rm -rf /tmp/x"],
		["RUN pip install flask && chown app /root/.cache"],
	},
	"apt-recommends": {
		["RUN apt-get update && apt-get install -y tini && rm -rf /var/lib/apt/lists/*"],
		["RUN apt install tini"],
		["RUN apt-get -y install \\\n tini"],
		["RUN DEBIAN_FRONTEND=noninteractive apt-get install tini"],
	},
	"apt-lists": {
		["RUN apt-get update"],
		["RUN apt-get -qq update && apt-get upgrade -y"],
		["RUN apt-get update", "RUN rm -rf /var/lib/apt/lists/*"],
	},
	"apk-cache": {["RUN apk add curl"], ["RUN apk --update add curl"], ["RUN apk update"]},
	"npm-install": {
		["RUN npm install --no-audit && npm cache clean --force"],
		["RUN npm i --prefix web && npm cache clean --force"],
	},
	"npm-cache": {["RUN npm ci"], ["RUN npm install -g pm2"], ["RUN npm install express"]},
	"add-url": {["ADD https://get.example/x.tar /x"], ["ADD [\"http://get.example/x\", \"/x\"]"], ["ADD git@git.example:a/b /x"]},
	"curl-pipe": {
		["RUN curl -fsSL https://get.example | sh"],
		["RUN wget -qO- https://get.example |sudo_=1 /bin/bash -s -- -y"],
		["RUN curl -sSL \"https://get.example/?a=1&b=2\" | python3 -"],
		["RUN sh -c \"$(curl -fsSL https://get.example)\""],
		["RUN bash <(curl -s https://get.example)"],
	},
	"sudo": {["RUN sudo make install"], ["RUN cd /x && /usr/bin/sudo -u app make"]},
	"copy-order": {
		["WORKDIR /app", "COPY . .", "RUN pip install --no-cache-dir -r requirements.txt"],
		["COPY . /app", "RUN cd /app && npm ci && npm cache clean --force"],
		["COPY --chown=1:1 ./ /app", "RUN mvn package"],
		["COPY [\".\", \"/app\"]", "RUN go mod download"],
		["ADD dir:0123abcd in /app", "RUN ./gradlew build"],
		["COPY . .", "RUN poetry install", "RUN poetry install"],
	},
	"compiler": {
		["RUN apt-get install --no-install-recommends -y build-essential"],
		["RUN apk add --no-cache gcc musl-dev"],
		["RUN dnf install -y gcc-c++"],
		["RUN apt-get install --no-install-recommends g++-12=12.2.0"],
	},
	"chown-run": {
		["COPY web /app", "RUN chown -R app:app /app"],
		["COPY web /app/web", "RUN useradd app && chown --recursive app /app/"],
		["WORKDIR /app", "COPY web .", "RUN chown -vR app ."],
		["COPY web /app", "RUN chown -R app $HOME"],
		["COPY web /app", "RUN chown -R app /app/web/static"],
	},
	"build-secret": {
		["ARG NPM_TOKEN=abc"],
		["ENV A=b DB_PASSWORD=\"abc\""],
		["ARG secret=abc"],
		["ENV AWS_SECRET_ACCESS_KEY=abc"],
	},
}

wrongly_told(checks) := {[check, lines, found] |
	some check in checks
	some lines in failing[check]
	found := failed with input as building.built(lines)
	found != {check}
}

# In parts, since OPA gives a test five seconds, on a busy machine too.
test_checks_of_python_and_apt if wrongly_told({"pip-cache", "apt-recommends", "apt-lists"}) == set()

test_checks_of_other_managers if wrongly_told({"apk-cache", "npm-install", "npm-cache", "compiler"}) == set()

test_checks_of_downloads_and_secrets if wrongly_told({"add-url", "curl-pipe", "sudo", "build-secret"}) == set()

test_checks_of_copies if wrongly_told({"copy-order", "chown-run"}) == set()

test_no_check_is_forgotten if {
	object.keys(failing) == object.keys(image_history.checks)
	count(failing) == 13
	every histories in failing {
		count(histories) > 0
	}
}

harmless := {
	["RUN echo pip install flask"],
	["RUN pip install flask && rm -rf /root/.cache"],
	["RUN pip install flask && pip cache purge"],
	["RUN PIP_NO_CACHE_DIR=1 pip install flask"],
	["RUN --mount=type=cache,target=/root/.cache pip install flask"],
	["RUN pip --no-cache-dir install flask"],
	["RUN pip list"],
	["RUN apt-get -o APT::Install-Recommends=false install tini"],
	["RUN apt-get update && apt-get dist-clean"],
	["RUN apt-get update && find /var/lib/apt/lists -delete"],
	["RUN --mount=type=cache,target=/var/lib/apt apt-get update"],
	["RUN apk add curl && rm -rf /var/cache/apk/*"],
	["RUN npm ci && rm -rf ~/.npm"],
	["RUN npm ci --cache /tmp/npm"],
	["RUN NPM_CONFIG_CACHE=/tmp npm ci"],
	["RUN npm run build"],
	["RUN npm install -g && npm cache clean --force"],
	["RUN --mount=type=cache,target=/root/.npm npm ci"],
	["RUN --mount=type=cache,target=/var/cache/apk apk add curl"],
	["LABEL run=curl https://get.example | sh"],
	["CMD sudo app"],
	["ENTRYPOINT pip install flask"],
	["ENV . /app", "RUN pip install --no-cache-dir -r requirements.txt"],
	["RUN pip install --no-cache-dir gcc"],
	["LABEL a=b /app", "RUN chown -R app /app"],
	["COPY rootfs /", "RUN chown -R app $HOME"],
	["ADD web.tar.gz /app"],
	["ADD --checksum=sha256:01 https://get.example/x /x"],
	["RUN curl -o x https://get.example && echo 01  x | sha256sum --check && sh x"],
	["RUN curl https://get.example | tar -xz"],
	["RUN apt-get install --no-install-recommends sudo"],
	["COPY src /app", "RUN pip install --no-cache-dir -r requirements.txt"],
	["COPY . .", "RUN pip install --no-cache-dir flask"],
	["RUN apt-get install --no-install-recommends gcc && make && apt-get purge -y gcc"],
	["RUN apk add --no-cache --virtual .build gcc && make && apk del .build"],
	["RUN mkdir /data && chown -R app /data"],
	["ADD rootfs /", "RUN chown -R app /home/app"],
	["COPY web /app", "RUN chown -R app /application"],
	["COPY web /app", "RUN chown app /app"],
	["RUN chown -R app /app", "COPY web /app"],
	["ARG NPM_TOKEN"],
	["ARG NPM_TOKEN="],
	["ENV POSTGRES_PASSWORD_FILE=/run/secrets/x"],
	["ENV TOKENIZERS_PARALLELISM=1"],
	["RUN TOKEN=abc make"],
	["LABEL password=none"],
}

# Each history is one image of its own, and all are judged at once.
test_what_is_well_passes if {
	images := {sprintf("%d", [number]): fixtures.facts({"platforms": [building.platform("linux/amd64", lines, {})]}) |
		some number, lines in [lines | some lines in harmless]
	}
	containers := [fixtures.container({"name": concat(" / ", lines), "image": sprintf("%d", [number])}) |
		some number, lines in [lines | some lines in harmless]
	]
	count(containers) > 30
	{violation.container | some violation in image_history.deny} == set() with input as fixtures.document(containers, images)
}

test_parameters_that_name_no_check_are_told_alone if {
	every more in [{"checks": {"x": false}}, {"exempt": [{"images": ["**"], "rules": ["x"]}]}] {
		violations := image_history.deny with input as building.built(good)
			with data.portcullis.parameters as {"image-history": more}
		count(violations) == 1
		known := image_history.deny with input as building.built(good)
			with data.portcullis.parameters as {"image-history": {"checks": {"sudo": false}, "exempt": [{"images": ["**"], "rules": ["sudo"]}]}}
		known == set()
	}
}

test_an_environment_that_turns_the_cache_off if {
	document := building.judged([building.platform("linux/amd64", ["RUN pip install flask"], {"config": {"envNames": ["PIP_NO_CACHE_DIR"]}})])
	image_history.deny == set() with input as document
}

noted(line) := building.judged([building.platform("linux/amd64", ["RUN make"], {"config": {"history": [{
	"createdBy": line,
	"emptyLayer": false,
	"instruction": "RUN",
	"arguments": "make",
	"layerIndex": 0,
}]}})])

test_secrets_in_build_arguments_are_named_and_never_shown if {
	every line in [
		"|2 A=b API_KEY=hunter2 /bin/sh -c make",
		"RUN |1 API_KEY=hunter2 /bin/sh -c make # buildkit",
	] {
		some violation in image_history.deny with input as noted(line)
		violation.details.check == "build-secret"
		violation.details.lines == ["API_KEY"]
		contains(violation.msg, "API_KEY")
		not contains(json.marshal(violation), "hunter2")
	}
	every line in ["|1 A=b /bin/sh -c make", "RUN |1 API_KEY= /bin/sh -c make # buildkit", "API_KEY=hunter2 make"] {
		image_history.deny == set() with input as noted(line)
	}
}

test_the_words if {
	some violation in image_history.deny with input as building.built(["RUN pip install flask", "RUN pip install gunicorn"])
	violation == {
		"container": "web",
		"image": fixtures.image,
		"msg": "keeps pip's cache in a layer: \"RUN pip install flask\", \"RUN pip install gunicorn\"",
		"fix": "use pip install --no-cache-dir, or ENV PIP_NO_CACHE_DIR=1",
		"details": {
			"reason": "image-history",
			"check": "pip-cache",
			"lines": ["RUN pip install flask", "RUN pip install gunicorn"],
			"total": 2,
		},
	}
}

test_many_lines_are_counted if {
	lines := [line | some number in numbers.range(1, 30); line := sprintf("RUN pip install p%d", [number])]
	some violation in image_history.deny with input as building.built(lines)
	contains(violation.msg, "and 28 more")
	count(violation.details.lines) == 20
	violation.details.total == 30
}

test_every_container_of_the_image_is_told if {
	names := {violation.container | some violation in image_history.deny} with input as building.many(building.built(["RUN sudo x"]))
	count(names) == 8
}

test_image_volumes_are_judged_too if {
	count(image_history.deny) == 1 with input as building.volume(building.built(["RUN sudo x"]))
}

# -- bases and platforms ---------------------------------------------------------------------------------------------

base := {"image-base": {"bases": {"debian": {"layers": [building.diff_id(0)]}}}}

test_lines_of_an_allowed_base_are_its_makers if {
	lines := ["RUN sudo base", "RUN pip install flask"]
	failed == {"sudo", "pip-cache"} with input as building.built(lines)
	failed == {"pip-cache"} with input as building.built(lines) with data.portcullis.parameters as base
}

test_the_platform_to_blame_is_named if {
	document := building.judged([
		building.platform("linux/amd64", good, {}),
		building.platform("linux/arm64", ["RUN sudo x"], {}),
	])
	some violation in image_history.deny with input as document
	violation.platform == "linux/arm64"
	violation.digest == fixtures.platform("linux/arm64", {}).digest
}

test_of_several_platforms_the_lines_of_the_first_are_told if {
	document := building.judged([
		building.platform("linux/amd64", ["RUN sudo x"], {}),
		building.platform("linux/arm64", ["RUN sudo y"], {}),
	])
	{violation.details.lines | some violation in image_history.deny} == {["RUN sudo x"]} with input as document
}

test_no_platform_is_named_where_all_are_alike if {
	document := building.judged([
		building.platform("linux/amd64", ["RUN sudo x"], {}),
		building.platform("linux/arm64", ["RUN sudo x"], {}),
	])
	some violation in image_history.deny with input as document
	not violation.platform
}

# -- what is not known -----------------------------------------------------------------------------------------------

test_unknown_histories_are_reported if {
	every document in building.silent {
		violations := image_history.deny with input as document
		fixtures.reasons(violations) == {"history-unknown"}
	}
	every steps in [[], null, [null], [{}], "x"] {
		document := building.judged([building.platform("linux/amd64", good, {"config": {"history": steps}})])
		violations := image_history.deny with input as document
		fixtures.reasons(violations) == {"history-unknown"}
	}
}

test_one_unknown_platform_is_enough if {
	violations := image_history.deny with input as building.two({}, {"config": {"history": []}})
	fixtures.reasons(violations) == {"history-unknown"}
}

test_unknown_histories_pass_where_they_are_accepted if {
	accepting := {"image-history": {"acceptUnknown": true}}
	every document in building.silent {
		image_history.deny == set() with input as document with data.portcullis.parameters as accepting
	}
}

# Lines of no known form say nothing; a builder without a Dockerfile has no bad practice of this kind.
test_lines_of_no_known_form_pass if {
	steps := [{"createdBy": "ko build sudo", "emptyLayer": false, "instruction": "", "arguments": "", "layerIndex": 0}]
	document := building.judged([building.platform("linux/amd64", good, {"config": {"history": steps}})])
	image_history.deny == set() with input as document
}

test_odd_environment_names_do_not_help if {
	every names in [null, "PIP_NO_CACHE_DIR", {}, [null]] {
		document := building.judged([building.platform("linux/amd64", ["RUN pip install x"], {"config": {"envNames": names}})])
		failed == {"pip-cache"} with input as document
	}
}

# -- parameters ------------------------------------------------------------------------------------------------------

test_checks_can_be_turned_off if {
	parameters := {"image-history": {"checks": {"sudo": false, "curl-pipe": true}}}
	lines := ["RUN sudo x", "RUN curl https://x | sh"]
	failed == {"curl-pipe"} with input as building.built(lines) with data.portcullis.parameters as parameters
}

exempting(one) := {"image-history": {"exempt": [one]}}

test_images_can_be_exempt if {
	lines := ["RUN sudo x", "RUN pip install x"]
	all := {"images": ["registry.example/acme/**"]}
	image_history.deny == set() with input as building.built(lines) with data.portcullis.parameters as exempting(all)
	one := object.union(all, {"rules": ["sudo"]})
	failed == {"pip-cache"} with input as building.built(lines) with data.portcullis.parameters as exempting(one)
	other := {"images": ["docker.io/**"]}
	failed == {"sudo", "pip-cache"} with input as building.built(lines)
		with data.portcullis.parameters as exempting(other)
	image_history.deny == set() with input as building.judged([building.platform("linux/amd64", good, {"config": {"history": []}})])
		with data.portcullis.parameters as exempting(all)
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"checks": []},
		{"checks": {"sudoo": false}},
		{"checks": {"sudo": "no"}},
		{"acceptUnknown": "yes"},
		{"exempt": {}},
		{"exempt": [{"paths": ["/opt"]}]},
		{"exempt": [{"images": ["docker.io/**"], "rules": ["sudoo"]}]},
		{"exempt": [{"rules": ["sudo"]}]},
		{"check": {}},
	] {
		violations := image_history.deny with data.portcullis.parameters as {"image-history": parameters}
			with input as building.built(good)
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}

# A check that is set to nonsense stays on.
test_a_check_is_only_off_when_it_is_false if {
	every value in ["no", null, 0] {
		failed == {"sudo"} with data.portcullis.parameters as {"image-history": {"checks": {"sudo": value}}}
			with input as building.built(["RUN sudo x"])
	}
}

# The one is told, and not the other.
test_containers_are_judged_by_their_own_images if {
	violations := image_history.deny with input as fixtures.beside(building.built(["RUN pip install x"]), building.built(["COPY a b"]))
	fixtures.told(violations) == {"web"}
}
