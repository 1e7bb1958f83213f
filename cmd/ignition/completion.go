// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"firstboot.dev/ignition/internal/engine"
)

// completions are the scripts of the shells. Each asks the program itself, so
// that there is no list of verbs and flags to keep beside the code. Where it
// has no answer, names of files are what is left.
var completions = map[string]string{
	"bash": `_ignition() {
  local IFS=$'\n'
  COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
}
complete -o default -F _ignition ignition ignition-validate ignition-apply ignition-rmcfg butane
`,
	"zsh": `#compdef ignition ignition-validate ignition-apply ignition-rmcfg butane
_ignition() {
  local -a found
  found=(${(f)"$("${words[1]}" __complete "${(@)words[1,CURRENT]}" 2>/dev/null)"})
  if (( ${#found} )); then compadd -- "${found[@]}"; else _files; fi
}
if [ "$funcstack[1]" = _ignition ]; then _ignition "$@"; else compdef _ignition ignition ignition-validate ignition-apply ignition-rmcfg butane; fi
`,
	"fish": `function __ignition_complete
  set -l before (commandline -opc)
  $before[1] __complete $before (commandline -ct) 2>/dev/null
end
for name in ignition ignition-validate ignition-apply ignition-rmcfg butane
  complete -c $name -a '(__ignition_complete)'
end
`,
}

// completionMain prints a script for a shell.
func completionMain(_ context.Context, p process) int {
	if len(p.args) == 1 && completions[p.args[0]] != "" {
		fmt.Fprint(p.stdout, completions[p.args[0]])
		return engine.ExitOK
	}
	fmt.Fprintf(p.stderr, `Usage: %s bash|zsh|fish
Prints the script by which a shell completes verbs, flags and their values.
`, p.name)
	if len(p.args) == 1 && strings.TrimLeft(p.args[0], "-") == "help" {
		return engine.ExitOK
	}
	return engine.ExitUsage
}

// completeMain prints what the last of the words may become, one a line. The
// first word is the program, as the user calls it.
func completeMain(ctx context.Context, p process) int {
	if len(p.args) < 2 {
		return engine.ExitOK
	}
	words, current := p.args[1:len(p.args)-1], p.args[len(p.args)-1]
	run := lookup(strings.TrimPrefix(filepath.Base(p.args[0]), "ignition-"))
	if run == nil && len(words) > 0 {
		run = lookup(words[0])
	}
	found := positional(ctx, p, words)
	if run == nil {
		run = stageMain
		if len(words) == 0 {
			for _, v := range verbs {
				found = append(found, v.name)
			}
		}
	}
	flags := flagsOf(ctx, p, run)
	name, value, joined := strings.Cut(current, "=")
	last := ""
	if len(words) > 0 {
		last = words[len(words)-1]
	}
	if n := len(words); last == "=" && n > 1 { // bash makes words of their own of what stands at an =
		last = words[n-2]
	}
	prefix := ""
	switch {
	case joined && strings.HasPrefix(name, "-"):
		found, prefix, current = flags[strings.TrimLeft(name, "-")].values, name+"=", value
	case strings.HasPrefix(last, "-") && flags[strings.TrimLeft(last, "-")].takesValue:
		found = flags[strings.TrimLeft(last, "-")].values
	case strings.HasPrefix(current, "-"):
		for name := range flags {
			found = append(found, "--"+name)
		}
	}
	sort.Strings(found)
	for _, f := range found {
		if strings.HasPrefix(f, current) {
			fmt.Fprintln(p.stdout, prefix+f)
		}
	}
	return engine.ExitOK
}

// positional is what a verb takes, where that is a list.
func positional(ctx context.Context, p process, words []string) (list []string) {
	if len(words) != 1 {
		return nil
	}
	switch words[0] {
	case "completion":
		for shell := range completions {
			list = append(list, shell)
		}
	case "schema":
		var out bytes.Buffer
		schemaMain(ctx, process{name: p.name, stdout: &out, stderr: &out, getenv: p.getenv})
		for line := range strings.Lines(out.String()) {
			list = append(list, strings.Fields(line + " -")[0])
		}
	}
	return list
}

// shownFlag is a flag as a program's help shows it.
type shownFlag struct {
	takesValue bool
	values     []string // between brackets in the help
}

// flagsOf reads the help of a program.
func flagsOf(ctx context.Context, p process, run command) map[string]shownFlag {
	var help bytes.Buffer
	run(ctx, process{name: p.name, args: []string{"--help"}, stdin: strings.NewReader(""), stdout: &help, stderr: &help, getenv: p.getenv})
	flags := map[string]shownFlag{}
	name := ""
	for line := range strings.Lines(help.String()) {
		line = strings.TrimRight(line, "\n")
		if n, takesValue, ok := shownIn(line); ok {
			name = n
			flags[name] = shownFlag{takesValue: takesValue}
		}
		if _, list, ok := strings.Cut(line, "["); ok && name != "" {
			list, _, ok = strings.Cut(list, "]")
			if f := flags[name]; ok && f.takesValue && f.values == nil && !strings.Contains(list, "=") {
				f.values = strings.Fields(list)
				flags[name] = f
			}
		}
	}
	return flags
}

// shownIn finds the flag that a line of a help begins with: "  -root string",
// or "  -d, --files-dir DIR  what it does". Of two names the longer one counts.
func shownIn(line string) (name string, takesValue, ok bool) {
	rest := strings.TrimLeft(line, " ")
	if rest == line || !strings.HasPrefix(rest, "-") {
		return "", false, false
	}
	for strings.HasPrefix(rest, "-") {
		end := strings.IndexAny(rest, " \t,[")
		if end < 0 {
			end = len(rest)
		}
		name, rest = strings.TrimLeft(rest[:end], "-"), rest[end:]
		rest = strings.TrimPrefix(rest, ", ")
	}
	value, isKind := strings.CutPrefix(rest, " ")
	return name, strings.HasPrefix(rest, "[=") || isKind && value != "" && value[0] != ' ', name != ""
}
