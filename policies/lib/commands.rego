# METADATA
# title: Commands in the lines of a Dockerfile
# description: |
#   Names and patterns of programs that install, compile and download. A pattern is for the arguments of a program
#   (history.calls), but for "piped", which is for the whole RUN.
package portcullis.lib.commands

import rego.v1

# What runs a download without a look at it.
piped := [
	# curl … | sh
	concat("", [
		`\b(?:curl|wget)\s(?:[^;&|\n]|&[^&])*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:env\s+)?(?:\w+=\S*\s+)*(?:/\S*/)?`,
		`(?:(?:ba|da|a|z|k)?sh|python[0-9.]*|perl|ruby|node)(?:[\s;&|)]|$)`,
	]),
	# sh -c "$(curl …)", bash <(curl …)
	`\b(?:ba|da|a|z|k)?sh\s+(?:-\S+\s+)*["']?(?:\$\(|<\(|\x60)\s*(?:curl|wget)\s`,
]

# npm install without names of packages.
unlocked := `^(?:(?:--prefix|-C)\s+\S+\s+|-\S+\s+)*(?:install|i)(?:\s+(?:--prefix|-C)\s+\S+|\s+-\S+)*$`

# What installs the dependencies that some list of the project names.
installers := {
	"pip": `(?:^|\s)install\s(?:.*\s)?(?:-r|--requirement|-e|--editable|\.\S*)(?:[\s=]|$)`,
	"uv": `^(?:sync|pip\s+(?:sync|install\s(?:.*\s)?-r))`,
	"poetry": `(?:^|\s)install(?:\s|$)`,
	"pipenv": `(?:^|\s)(?:install|sync)(?:\s|$)`,
	"npm": `^(?:(?:--prefix|-C)\s+\S+\s+|-\S+\s+)*(?:ci|install|i)(?:\s+(?:--prefix|-C)\s+\S+|\s+-\S+)*$`,
	"yarn": `^(?:install\b.*|(?:-\S+\s*)*)$`,
	"pnpm": `(?:^|\s)(?:install|i)(?:\s+-\S+)*$`,
	"mvn": `\S`,
	"gradle": `\S`,
	"go": `^(?:mod\s+download|build|install|get)(?:\s|$)`,
	"cargo": `^(?:build|fetch|install)(?:\s|$)`,
	"bundle": `^install(?:\s|$)`,
	"composer": `(?:^|\s)install(?:\s|$)`,
	"dotnet": `^(?:restore|build|publish)(?:\s|$)`,
}

package_managers := {"apt-get", "apk", "dnf", "yum", "microdnf", "zypper"}

compilers := concat("", [
	`(?:^|\s)(?:install|add|in)\s(?:.*[\s"'])?`,
	`(?:build-essential|build-base|gcc|g\+\+|clang|llvm|gcc-c\+\+|make|cmake|golang|golang-go|rust|rustc|cargo|musl-dev|`,
	`libc6-dev|linux-headers|base-devel)(?:-[0-9.]+)?(?:[=~<>]\S*)?(?:[\s"']|$)`,
])
