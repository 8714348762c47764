package devices

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// written gives what a claim's status says of its devices: link, interface, MAC and addresses.
func (b *claimBench) written(claim string) ([]string, error) {
	c, err := b.Client().ResourceV1().ResourceClaims(b.Namespace).Get(b.Context(), claim, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, d := range c.Status.Devices {
		if n := d.NetworkData; n != nil {
			all = append(all, fmt.Sprintln(strings.TrimPrefix(d.Device, "dev-"), n.InterfaceName, n.HardwareAddress, n.IPs))
		}
	}
	slices.Sort(all)
	return all, nil
}

// writtenBack demands that a claim says of its device what the pod has, and nothing once the pod
// has gone.
func (b *claimBench) writtenBack() {
	b.Helper()
	p := b.Pod("written", named("shared"), cluster.Networks("nic"))
	b.mustHave(p, "net0")
	own := p.Interfaces()
	i := own[slices.IndexFunc(own, func(i cluster.Interface) bool { return i.Name == "net0" })]
	want := []string{fmt.Sprintln(b.allocated(p)[0], i.Name, i.MAC, i.Addrs)}
	b.awaitWritten("shared", want)
	b.Logf("the claim of pod %s says %q", p.Name, want)
	b.remove(p)
	b.awaitWritten("shared", nil)
}

func (b *claimBench) awaitWritten(claim string, want []string) {
	b.Helper()
	b.Await("what claim "+claim+" says of its devices", func() error {
		got, err := b.written(claim)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it says %q, want %q", got, want)
		}
		return err
	})
}
