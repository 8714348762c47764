package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// The script of every plugin that a test writes. It notes its call in the log, one
// line of fields between tabs, and goes through the hooks of its verb.
const script = `#!/bin/sh
name=@NAME@ hooks=@HOOKS@ log=@LOG@
stdin=$(cat)
printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" \
	"$CNI_NETNS" "$CNI_ARGS" "$(printf %s "$stdin" | tr -d '\n')" >>"$log"
fail() { # CODE MESSAGE [DETAILS]
	printf '{"cniVersion":"1.0.0","code":%s,"msg":"%s","details":"%s"}' "$1" "$2" "$3"
	exit 1
}
[ ! -e "$hooks/$name.$CNI_COMMAND" ] || . "$hooks/$name.$CNI_COMMAND"
`

// Plugin writes a plugin into PluginDir that notes its calls (see Calls) and then does
// what the body says, in sh: $stdin holds its configuration, `fail CODE MESSAGE` ends
// it with a CNI error, and Hook puts something before it. In VERSION it answers by
// itself, with every version.
func (n *Node) Plugin(name, body string) {
	n.t.Helper()
	head := strings.NewReplacer("@NAME@", name, "@HOOKS@", n.Path("hooks"), "@LOG@", n.logPath()).Replace(script)
	version := `[ "$CNI_COMMAND" != VERSION ] || {
	echo '{"cniVersion":"1.1.0","supportedVersions":["` + strings.Join(types.CNIVersions, `","`) + `"]}'
	exit 0
}
`
	check.Must(n.t, os.WriteFile(filepath.Join(n.PluginDir, name), []byte(head+version+body), 0o700))
}

// Wrap puts a plugin before a reference plugin that notes its calls, goes through the
// hooks, and then is that plugin.
func (n *Node) Wrap(names ...string) {
	n.t.Helper()
	for _, name := range names {
		n.Plugin(name, fmt.Sprintf(replay, filepath.Join(n.CNIBin, name)))
	}
}

// replay gives standard input, which the script has read, to another executable.
const replay = `printf %%s "$stdin" >"$hooks/$$.stdin"
exec <"$hooks/$$.stdin"
rm "$hooks/$$.stdin"
exec '%s'
`

// Hook makes a plugin of Plugin or Wrap run a piece of sh in one verb before it does
// anything else; an empty piece takes the hook away.
func (n *Node) Hook(plugin, command, piece string) {
	n.t.Helper()
	path := n.Path("hooks", plugin+"."+command)
	if piece == "" {
		check.Must(n.t, os.Remove(path))
		return
	}
	check.Must(n.t, os.WriteFile(path, []byte(piece+"\n"), 0o600))
}

func (n *Node) logPath() string { return n.Path("calls") }

// PluginCall is one call that a plugin of Plugin or Wrap noted.
type PluginCall struct {
	Plugin, Command, ContainerID, IfName, NetNS, Args string
	Config                                            map[string]json.RawMessage
}

// String gives "COMMAND plugin interface".
func (c PluginCall) String() string { return c.Command + " " + c.Plugin + " " + c.IfName }

// Calls gives the calls that were noted, in order, and forgets them. VERSION is left out.
func (n *Node) Calls() []PluginCall {
	n.t.Helper()
	data, err := os.ReadFile(n.logPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.t.Fatal(err)
	}
	_ = os.Remove(n.logPath())
	var calls []PluginCall
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 7)
		c := PluginCall{Plugin: f[0], Command: f[1], ContainerID: f[2], IfName: f[3], NetNS: f[4], Args: f[5]}
		check.Must(n.t, json.Unmarshal([]byte(f[6]), &c.Config))
		if c.Command != "VERSION" {
			calls = append(calls, c)
		}
	}
	return calls
}

// CallNames gives each of Calls as "COMMAND plugin interface".
func (n *Node) CallNames() []string {
	n.t.Helper()
	names := []string{}
	for _, c := range n.Calls() {
		names = append(names, c.String())
	}
	return names
}
