package sriov

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// The PFs of the guest, and how many VFs each is given.
const (
	pf0, pf1   = "0000:01:00.0", "0000:02:00.0"
	vfsOfPF    = 4
	stateDir   = "/var/lib/cni/plexus-sriov"
	plexusDir  = "/var/lib/cni/plexus"
	infoDir    = "/run/devinfo" // of device-information files
	pluginName = "plexus-sriov"
)

// lab is the guest's machine: pf0 and pf1 are up, their VFs are there, each VF's interface
// has the name that udev has given it. A real udev runs beside every test.
type lab struct {
	t    *testing.T
	cnis string // CNI_PATH
}

// newLab prepares the machine, once for all tests of a boot: each leaves it as it was.
func newLab(t *testing.T) *lab {
	t.Helper()
	guest.Inside(t)
	l := &lab{t: t, cnis: os.Getenv("PLEXUS_BIN") + ":" + os.Getenv("PLEXUS_CNI_BIN")}
	if _, err := os.Stat("/sys/class/net/pf0"); err == nil {
		return l
	}
	l.sh("/lib/systemd/systemd-udevd --daemon && modprobe igb && modprobe igbvf && mkdir -p /run/netns /var/lib/cni")
	for n, pf := range []string{pf0, pf1} {
		if _, err := os.Stat("/sys/bus/pci/devices/" + pf); err != nil {
			continue
		}
		name := fmt.Sprintf("pf%d", n)
		// A PF that is up before it has VFs is the one that answers at once.
		l.sh("ip link set " + l.netdev(pf) + " name " + name + " && ip link set " + name + " up")
		check.Must(t, os.WriteFile("/sys/bus/pci/devices/"+pf+"/sriov_numvfs", fmt.Append(nil, vfsOfPF), 0o200))
		for vf := range vfsOfPF {
			if name, slot := l.netdev(l.vf(pf, vf)), fmt.Sprintf("v%d", vf); !strings.HasSuffix(name, slot) {
				t.Fatalf("VF %d of %s is named %s: not by udev", vf, pf, name)
			}
		}
	}
	l.sh("ip link set " + l.netdev(l.vf(pf0, 1)) + " up mtu 1400")
	l.awaitLink()
	// Something to restore that is not the default.
	l.sh("ip link set pf0 vf 0 spoofchk off; ip link set pf0 vf 1 vlan 7 qos 2; ip link set pf0 vf 1 max_tx_rate 300")
	return l
}

// awaitLink waits until pf0 has a link: before that it refuses a rate. It loses the link for a while when
// its driver resets it, as it does where it had to wait for the machine.
func (l *lab) awaitLink() {
	l.t.Helper()
	check.Eventually(l.t, "a link of pf0", patience, func() bool {
		carrier, _ := os.ReadFile("/sys/class/net/pf0/carrier")
		return string(carrier) == "1\n"
	})
}

func (l *lab) sh(command string) string {
	l.t.Helper()
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// settle waits until udev has named what has come.
func (l *lab) settle() {
	l.t.Helper()
	l.sh("udevadm settle --timeout=60")
}

// netdev gives the name of a device's interface on the host, once it has one and udev is done.
func (l *lab) netdev(device string) string {
	l.t.Helper()
	pattern := "/sys/bus/pci/devices/" + device + "/net/*"
	guest.AwaitFile(l.t, pattern)
	l.settle()
	return filepath.Base(guest.AwaitFile(l.t, pattern))
}

// vf gives the PCI address of a VF.
func (l *lab) vf(pf string, n int) string {
	l.t.Helper()
	target, err := os.Readlink(fmt.Sprintf("/sys/bus/pci/devices/%s/virtfn%d", pf, n))
	check.Must(l.t, err)
	return filepath.Base(target)
}

// netns makes a namespace for the test and gives its path.
func (l *lab) netns(name string) string {
	l.t.Helper()
	l.sh("ip netns add " + name)
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return "/run/netns/" + name
}

// vfInfo is what iproute2 says that the PF keeps of a VF.
type vfInfo map[string]any

// settings gives what iproute2 says of the VFs of a PF.
func (l *lab) settings(pf string) []vfInfo {
	l.t.Helper()
	var links []struct {
		VFs []vfInfo `json:"vfinfo_list"`
	}
	check.Must(l.t, json.Unmarshal([]byte(l.sh("ip -j link show dev "+pf)), &links))
	return links[0].VFs
}

// link is an interface as iproute2 shows it.
type link struct {
	Name    string   `json:"ifname"`
	Alt     []string `json:"altnames"`
	MAC     string   `json:"address"`
	MTU     int      `json:"mtu"`
	Flags   []string `json:"flags"`
	Parent  string   `json:"parentdev"`
	Address []struct {
		Local  string `json:"local"`
		Prefix int    `json:"prefixlen"`
		Scope  string `json:"scope"`
	} `json:"addr_info"`
}

func (l *lab) links(netns string) []link {
	l.t.Helper()
	in := ""
	if netns != "" {
		in = "-n " + filepath.Base(netns) + " "
	}
	var links []link
	check.Must(l.t, json.Unmarshal([]byte(l.sh("ip "+in+"-j -d addr show")), &links))
	return links
}

func names(links []link) []string {
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

func named(t *testing.T, links []link, name string) link {
	t.Helper()
	for _, l := range links {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no interface %s among %v", name, names(links))
	return link{}
}

// snapshot is all that an attachment may change on the host: PF side, interfaces, and
// files.
type snapshot struct {
	PF    map[string][]vfInfo
	Links map[string]string
	Files []string
}

func (l *lab) snapshot() snapshot {
	l.t.Helper()
	l.settle()
	s := snapshot{PF: map[string][]vfInfo{}, Links: map[string]string{}}
	for _, link := range l.links("") {
		// A bridge that the default network made stays, as the reference plugin has it.
		if strings.HasPrefix(link.Name, "pf") || link.Parent != "" {
			up := slices.Contains(link.Flags, "UP")
			slices.Sort(link.Alt)
			s.Links[link.Parent] = fmt.Sprintf("%s %s mtu %d up %v names %v", link.Name, link.MAC, link.MTU, up, link.Alt)
		}
	}
	for _, pf := range []string{"pf0", "pf1"} {
		if _, err := os.Stat("/sys/class/net/" + pf); err == nil {
			s.PF[pf] = l.settings(pf)
		}
	}
	for _, dir := range []string{stateDir, plexusDir, infoDir, "/var/lib/cni/networks"} {
		files, _ := filepath.Glob(dir + "/*")
		more, _ := filepath.Glob(dir + "/*/10.*")
		for _, file := range append(files, more...) {
			if info, err := os.Stat(file); err == nil && !info.IsDir() && filepath.Ext(file) != ".lock" && filepath.Base(file) != "lock" {
				s.Files = append(s.Files, file)
			}
		}
	}
	return s
}

// mustBe demands that everything is as it was.
func (l *lab) mustBe(before snapshot, when string) {
	l.t.Helper()
	if diff := cmp.Diff(before, l.snapshot()); diff != "" {
		l.t.Errorf("%s (-before +now):\n%s", when, diff)
	}
}

// call is one call of a plugin.
type call struct {
	command, netns, ifName string
	container              string // "c1" if empty
	plugin                 string // a path; plexus-sriov if empty
	args                   string
	env                    []string
}

// answer is what came of it.
type answer struct {
	ok, killed bool
	stdout     string
	stderr     string
	Code       uint   `json:"code"`
	Msg        string `json:"msg"`
}

type conf map[string]any

func (c conf) with(more conf) conf {
	all := conf{}
	for _, from := range []conf{c, more} {
		for key, value := range from {
			all[key] = value
		}
	}
	return all
}

func (l *lab) call(c call, config conf) answer {
	l.t.Helper()
	if c.command == "ADD" {
		l.awaitLink()
	}
	data, err := json.Marshal(config)
	check.Must(l.t, err)
	if c.plugin == "" {
		c.plugin = filepath.Join(os.Getenv("PLEXUS_BIN"), pluginName)
	}
	if c.container == "" {
		c.container = "c1"
	}
	cmd := exec.Command(c.plugin)
	cmd.Env = append([]string{
		"PATH=/usr/sbin:/usr/bin", "CNI_COMMAND=" + c.command, "CNI_CONTAINERID=" + c.container, "CNI_NETNS=" + c.netns,
		"CNI_IFNAME=" + c.ifName, "CNI_PATH=" + l.cnis, "CNI_ARGS=" + c.args,
	}, c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &stdout, &stderr
	err = cmd.Run()
	a := answer{ok: err == nil, killed: cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == -1, stdout: stdout.String(), stderr: stderr.String()}
	_ = json.Unmarshal(stdout.Bytes(), &a)
	return a
}

func (l *lab) must(c call, config conf) answer {
	l.t.Helper()
	a := l.call(c, config)
	if !a.ok {
		l.t.Fatalf("%s %s: code %d: %s\n%s%s", c.command, c.ifName, a.Code, a.Msg, a.stdout, a.stderr)
	}
	return a
}

// refused demands a failure with the code whose message has all the parts.
func (l *lab) refused(c call, config conf, code uint, parts ...string) {
	l.t.Helper()
	a := l.call(c, config)
	if a.ok || a.Code != code {
		l.t.Errorf("%s: ok %v, code %d, want code %d: %s", c.command, a.ok, a.Code, code, a.Msg)
	}
	for _, part := range parts {
		if !strings.Contains(a.Msg, part) {
			l.t.Errorf("%s: the message lacks %q: %s", c.command, part, a.Msg)
		}
	}
}

func ping(netns, address string) error {
	out, err := exec.Command("ip", "netns", "exec", filepath.Base(netns), "ping", "-c", "1", "-W", "1", address).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ping %s in %s: %w: %s", address, netns, err, out)
	}
	return nil
}
