package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// nodeView is what checks of the node read.
type nodeView struct {
	*Graph
	s    *Snapshot
	cni  *CNI
	host Ref
}

// eachNode makes a check of a Snapshot out of one of the part for doctor; without that part nothing is checked.
func eachNode(check func(*nodeView) []Finding) func(*Graph) []Finding {
	return func(g *Graph) []Finding {
		if g.snapshot.CNI == nil {
			return nil
		}
		v := &nodeView{Graph: g, s: g.snapshot, cni: g.snapshot.CNI}
		if host := g.Host(); host != nil {
			v.host.Namespace = host.Inode
		}
		return check(v)
	}
}

// seen makes evidence of a field of the Snapshot.
func (v *nodeView) seen(field string, value any) Evidence { return at(v.host, field, value) }

func (v *nodeView) finding(text string, evidence ...Evidence) []Finding {
	return []Finding{{At: v.host, Text: text, Evidence: evidence}}
}

// read gives the files that a runtime reads, in its order.
func (c *CNI) read() []ConfFile {
	return slices.DeleteFunc(slices.Clone(c.Files), func(f ConfFile) bool { return f.Ignored })
}

func (c *CNI) path(file string) string { return strings.TrimSuffix(c.ConfDir, "/") + "/" + file }

// Winner gives the file that a runtime takes, and why; nil if it takes none.
func (c *CNI) Winner() (winner *ConfFile, why string) {
	files := c.read()
	switch {
	case len(files) == 0:
		return nil, "there is none"
	case files[0].Fault != "":
		return nil, "the first, " + files[0].Name + ", is broken: containerd takes none then, CRI-O the next"
	case len(files) == 1:
		return &files[0], "it is the only one"
	}
	return &files[0], "its name sorts before " + files[1].Name
}

func fileField(file *ConfFile, field string) string {
	return fmt.Sprintf("cni.files[%s].%s", file.Name, field)
}

func noConfiguration(v *nodeView) []Finding {
	if len(v.cni.read()) > 0 || slices.ContainsFunc(v.s.Notes, func(n Note) bool { return n.About == v.cni.ConfDir }) {
		return nil
	}
	return v.finding(v.cni.ConfDir+" has no configuration that a runtime reads", v.seen("cni.files", len(v.cni.read())))
}

func brokenFiles(v *nodeView) (all []Finding) {
	for i, file := range v.cni.read() {
		if file.Fault == "" || file.Owner == "plexus" {
			continue
		}
		found := v.finding(v.cni.path(file.Name)+" is broken: "+file.Fault, v.seen(fileField(&file, "fault"), file.Fault))
		if i == 0 {
			found[0].Text += "; it is the first, so containerd takes no configuration at all, and CRI-O the next one"
		} else {
			found[0].Severity = Notice
		}
		all = append(all, found...)
	}
	return all
}

func plexusShadowed(v *nodeView) []Finding {
	if v.cni.Plexus == nil {
		return nil
	}
	winner, _ := v.cni.Winner()
	if winner == nil || winner.Owner == "plexus" || winner.Name >= v.cni.Plexus.File {
		return nil
	}
	return v.finding(fmt.Sprintf("the runtime takes %s, which sorts before %s: new pods do not get plexus", winner.Name, v.cni.Plexus.File),
		v.seen("cni.files[0].name", winner.Name), v.seen("cni.plexus.file", v.cni.Plexus.File))
}

func plexusRenamed(v *nodeView) (all []Finding) {
	if v.cni.Plexus != nil {
		return nil
	}
	for _, file := range v.cni.Files {
		if file.Ignored && file.Owner == "plexus" {
			all = append(all, v.finding(v.cni.path(file.Name)+" has the configuration of plexus, and no runtime reads a file of that name: new pods do not get plexus",
				v.seen(fileField(&file, "ignored"), true))...)
		}
	}
	return all
}

func otherRenamed(v *nodeView) (all []Finding) {
	for _, file := range v.cni.Files {
		if file.Ignored && (file.Owner != "plexus" || v.cni.Plexus != nil) {
			all = append(all, v.finding(fmt.Sprintf("%s has the network %s, and no runtime reads a file of that name: somebody has put it aside", v.cni.path(file.Name), file.Network),
				v.seen(fileField(&file, "ignored"), true))...)
		}
	}
	return all
}

func plexusMissing(v *nodeView) []Finding {
	isOurs := func(f ConfFile) bool { return f.Owner == "plexus" }
	if v.cni.Plexus != nil || len(v.cni.read()) == 0 || slices.ContainsFunc(v.cni.Files, isOurs) {
		return nil
	}
	winner, why := v.cni.Winner()
	if winner == nil {
		return nil
	}
	return v.finding(fmt.Sprintf("no file of %s has plexus; the runtime takes %s: %s", v.cni.ConfDir, winner.Name, why), v.seen("cni.files[0].name", winner.Name))
}

func plexusBroken(v *nodeView) []Finding {
	if p := v.cni.Plexus; p != nil && p.Fault != "" {
		return v.finding(v.cni.path(p.File)+": "+p.Fault, v.seen("cni.plexus.fault", p.Fault))
	}
	return nil
}

func defaultNetworkBroken(v *nodeView) []Finding {
	p := v.cni.Plexus
	switch {
	case p == nil:
		return nil
	case p.DefaultFault != "":
		return v.finding("the default network, "+p.ClusterNetwork+", cannot be read: "+p.DefaultFault, v.seen("cni.plexus.defaultFault", p.DefaultFault))
	case p.NotReady != "":
		return v.finding("the default network is not ready: "+p.NotReady+" is not there", v.seen("cni.plexus.notReady", p.NotReady))
	}
	return nil
}

func selfDelegation(v *nodeView) []Finding {
	p := v.cni.Plexus
	if p == nil || p.DefaultOwner == "" {
		return nil
	}
	return v.finding(fmt.Sprintf("the default network of %s, %s, has the plugin %s: it leads back to a plugin that runs others", p.File, p.ClusterNetwork, p.DefaultOwner),
		v.seen("cni.plexus.defaultOwner", p.DefaultOwner))
}

// folders names the folders of plugins.
func (c *CNI) folders() string { return strings.Join(append([]string{c.BinDir}, c.CNIPath...), ", ") }

// executablesMissing looks for the plugins of the default network, and of the file that the runtime takes.
func executablesMissing(v *nodeView) (all []Finding) {
	if v.cni.Plexus == nil {
		return nil // where it is not, its folder of plugins may not be the runtime's
	}
	needed := slices.Clone(v.cni.Plexus.Default)
	if winner, _ := v.cni.Winner(); winner != nil {
		needed = append(needed, winner.Plugins...)
	}
	slices.Sort(needed)
	for _, name := range slices.Compact(needed) {
		i := slices.IndexFunc(v.cni.Executables, func(e Executable) bool { return e.Name == name })
		switch {
		case i < 0:
			all = append(all, v.finding(fmt.Sprintf("the plugin %s is not in %s", name, v.cni.folders()), v.seen("cni.executables["+name+"]", "missing"))...)
		case v.cni.Executables[i].Fault != "":
			fault := v.cni.Executables[i].Fault
			all = append(all, v.finding(fmt.Sprintf("the plugin %s in %s: %s", name, v.cni.folders(), fault), v.seen("cni.executables["+name+"].fault", fault))...)
		}
	}
	return all
}

// hasFallback reports whether plexus can do without its agent.
func (c *CNI) hasFallback() bool {
	return c.Credentials != nil && c.Credentials.Fault == ""
}

func agentSilent(v *nodeView) []Finding {
	a := v.cni.Agent
	if a == nil || a.Error == "" {
		return nil
	}
	found := v.finding("no agent answers: "+a.Error, v.seen("cni.agent.error", a.Error))
	if v.cni.hasFallback() {
		found[0].Severity = Warning
		found[0].Text += "; plexus-once asks the API server instead, by " + v.cni.Credentials.File
	}
	return found
}

func agentNotReady(v *nodeView) []Finding {
	if a := v.cni.Agent; a != nil && a.NotReady != "" {
		return v.finding("the agent is not ready: "+a.NotReady, v.seen("cni.agent.notReady", a.NotReady))
	}
	return nil
}

// reasonFallback is the reason that matters only where no agent answers.
const reasonFallback = "fallback"

func nodeNotInUse(v *nodeView) (all []Finding) {
	if v.cni.Agent == nil {
		return nil
	}
	for _, fault := range v.cni.Agent.Faults {
		found := v.finding("the agent says: "+fault.Fault, v.seen("cni.agent.faults["+fault.Reason+"]", fault.Fault))
		if fault.Reason == reasonFallback && v.cni.Agent.Error == "" {
			found[0].Severity = Notice
		}
		all = append(all, found...)
	}
	return all
}

func versionSkew(v *nodeView) (all []Finding) {
	if v.cni.Agent == nil || v.cni.Agent.Version == "" {
		return nil
	}
	for _, executable := range v.cni.Executables {
		isOurs := executable.Name == "plexus" || strings.HasPrefix(executable.Name, "plexus-")
		if isOurs && executable.Version != "" && executable.Version != v.cni.Agent.Version {
			all = append(all, v.finding(fmt.Sprintf("%s is of version %s, and the agent of %s", executable.Name, executable.Version, v.cni.Agent.Version),
				v.seen("cni.executables["+executable.Name+"].version", executable.Version), v.seen("cni.agent.version", v.cni.Agent.Version))...)
		}
	}
	return all
}

// endSoon is how long before their end credentials are reported that nobody renews as often as a token.
const endSoon = 24 * time.Hour

func badCredentials(v *nodeView) []Finding {
	c := v.cni.Credentials
	if c == nil {
		return nil
	}
	left := c.Expires.Sub(v.s.Machine.Taken)
	var found []Finding
	switch {
	case c.Fault != "":
		found = v.finding("the kubeconfig of plexus-once cannot be used: "+c.Fault, v.seen("cni.credentials.fault", c.Fault))
	case c.Expires.IsZero():
		return nil
	case left <= 0:
		found = v.finding(fmt.Sprintf("the %s in %s has expired", c.Kind, c.File), v.seen("cni.credentials.expires", c.Expires.Format(time.RFC3339)))
	case left < endSoon && strings.HasPrefix(c.Kind, "client certificate"):
		found = v.finding(fmt.Sprintf("the %s in %s expires in %s", c.Kind, c.File, left.Round(time.Minute)), v.seen("cni.credentials.expires", c.Expires.Format(time.RFC3339)))
		found[0].Severity = Notice
		return found
	default:
		return nil
	}
	if v.cni.Agent != nil && v.cni.Agent.Error == "" {
		found[0].Severity = Warning
	}
	return found
}
