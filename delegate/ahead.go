package delegate

import (
	"debug/buildinfo"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/plexus-cni/plexus/internal/host"
)

// waiters are the programs that are known to do nothing before they have read their standard
// input to its end: main packages, or folders of them, that were read. That a program is built
// with skel is not enough: one may take a lock before it calls skel.
var waiters = []string{
	"github.com/containernetworking/plugins/plugins/", // also flannel's, which has that module's name
	"github.com/projectcalico/calico/cni-plugin/cmd/calico",
	"github.com/plexus-cni/plexus/cmd/plexus-sriov",
	"github.com/plexus-cni/plexus/cmd/plexus-vhostuser",
}

// waits reports whether an executable is one of the programs that are known to wait.
func waits(path string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false // no program of Go: a script, for example
	}
	return slices.ContainsFunc(waiters, func(known string) bool {
		return info.Path == known || strings.HasSuffix(known, "/") && strings.HasPrefix(info.Path, known)
	})
}

// launch is a run of a plugin that is to come.
type launch struct {
	path string
	args *invoke.Args
}

// environ gives the whole environment of a run, sorted: libcni has it in any order.
func (l *launch) environ() []string {
	environ := l.args.AsEnv()
	slices.Sort(environ)
	return environ
}

// is reports whether a run is the one that was to come.
func (l *launch) is(path string, environ []string) bool {
	return l.path == path && slices.Equal(l.environ(), slices.Sorted(slices.Values(environ)))
}

// ahead starts the next plugin while the one before it is at work, so that its process waits
// for its configuration when its turn comes. The order of what plugins do stays: a plugin
// does nothing before it has its configuration, and no more than one waits.
//
// A plugin that is never given its configuration is killed. If this process is killed, the
// plugin reads an empty configuration, and ends without having done anything.
type ahead struct {
	x       *executor
	allowed func(path string) bool // to be started before its turn

	coming  []launch
	waiting *pluginRun
	file    host.FileID // of the waiting one, when it was started
}

// newAhead lets an executor start plugins ahead: those of these names, or, if they are nil, those
// that are known to wait.
func newAhead(x *executor, names []string) *ahead {
	return &ahead{x: x, allowed: func(path string) bool {
		if names != nil {
			return slices.Contains(names, filepath.Base(path))
		}
		return waits(path)
	}}
}

// expectAdd says that the attachments are to be made, in order.
func (s *session) expectAdd() {
	var coming []launch
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		if list, err := s.list(i); err == nil {
			coming = append(coming, launches(s.libcni, "ADD", list, runtimeConf(a, &s.record.Plan.Sandbox, s.record.Plan.Sandbox.NetNS))...)
		}
	}
	s.ahead.expect(coming)
}

// expectDel says that attachments are to be released, in order.
func (s *session) expectDel(pending []int, netns string) {
	var coming []launch
	for _, i := range pending {
		if list, err := s.list(i); err == nil {
			coming = append(coming, launches(s.libcni, "DEL", list, s.releaseConf(i, netns))...)
		}
	}
	s.ahead.expect(coming)
}

// expect says what is to run, in order, and starts the first of it.
func (a *ahead) expect(coming []launch) {
	if a == nil {
		return
	}
	a.drop()
	a.coming = coming
	a.startNext()
}

// startNext starts what is to come next, unless it may act before its turn.
func (a *ahead) startNext() {
	if a == nil || a.waiting != nil || len(a.coming) == 0 {
		return
	}
	next := &a.coming[0]
	file, err := host.FileIDOf(next.path)
	if err != nil || !a.allowed(next.path) {
		return
	}
	host.KillPoint()
	run := a.x.newRun(next.path, next.environ())
	if run.start() != nil {
		return // its turn will show why
	}
	host.KillPoint()
	// Whatever was executed is what was looked at.
	running, err := host.FileIDOf("/proc/" + strconv.Itoa(run.cmd.Process.Pid) + "/exe")
	if err != nil || running != file {
		run.abandon()
		return
	}
	a.waiting, a.file = run, file
}

// take gives the plugin that waits to be run with this environment, nil if none does.
func (a *ahead) take(path string, environ []string) *pluginRun {
	if a == nil {
		return nil
	}
	i := slices.IndexFunc(a.coming, func(l launch) bool { return l.is(path, environ) })
	if i < 0 {
		return nil
	}
	a.coming = a.coming[i+1:]
	run := a.waiting
	if run == nil {
		return nil
	}
	if file, err := host.FileIDOf(path); i > 0 || err != nil || file != a.file || run.hasEnded() {
		run.abandon() // it was replaced meanwhile, for example
		run = nil
	}
	a.waiting = nil
	return run
}

// drop ends the plugin that waits, if one does.
func (a *ahead) drop() {
	if a == nil {
		return
	}
	a.coming = nil
	if a.waiting == nil {
		return
	}
	a.waiting.abandon()
	a.waiting = nil
}

// launches gives what libcni will run for a network.
func launches(cni *libcni.CNIConfig, command string, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) []launch {
	args := &invoke.Args{
		Command: command, ContainerID: rt.ContainerID, NetNS: rt.NetNS, PluginArgs: rt.Args, IfName: rt.IfName,
		Path: strings.Join(cni.Path, string(filepath.ListSeparator)),
	}
	var all []launch
	for _, plugin := range list.Plugins {
		path, err := invoke.FindInPath(plugin.Network.Type, cni.Path)
		if err != nil {
			return nil
		}
		all = append(all, launch{path: path, args: args})
	}
	if command == "DEL" {
		slices.Reverse(all)
	}
	return all
}
