//go:build linux

package drops_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// child has the test's own executable open a Reader, and say how that went.
const child = "PLEXUS_TEST_OPEN_DROPS"

func init() {
	if os.Getenv(child) == "" {
		return
	}
	r, err := drops.Open([][]byte{mark[:], mark[:4]})
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(0)
	}
	fmt.Println("it was opened")
	os.Exit(0)
}

// The capabilities BPF and PERFMON are enough, and either is wanted.
func TestNetnsRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a process with some capabilities of root needs root")
	}
	for capabilities, want := range map[string]string{
		"-all,+bpf,+perfmon": "it was opened", "-all,+bpf": drops.ErrNoRights.Error(), "-all,+perfmon": drops.ErrNoRights.Error(),
		"-all": drops.ErrNoRights.Error(), "-all,+net_admin,+net_raw": drops.ErrNoRights.Error(),
	} {
		t.Run(capabilities, func(t *testing.T) {
			cmd := exec.Command("setpriv", "--bounding-set="+capabilities, "--inh-caps=-all", "--no-new-privs", "--", os.Args[0])
			cmd.Env = append(os.Environ(), child+"=1")
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			check.Must(t, err)
			check.Contains(t, "what it says", string(out), want)
		})
	}
}

// What a dropped packet costs that has no mark: the time within the program, as the kernel counts it.
func BenchmarkNetnsDrop(b *testing.B) {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	check.Must(b, err)
	defer stats.Close()
	short := []byte("seqn")
	for name, test := range map[string]struct {
		marks [][]byte
		size  int
	}{
		"long mark":            {[][]byte{mark[:]}, 400},
		"long mark, small":     {[][]byte{mark[:]}, 8},
		"two short marks":      {[][]byte{short, []byte("seqo")}, 400},
		"with the mark itself": {[][]byte{other[:]}, 400},
	} {
		b.Run(name, func(b *testing.B) {
			s := sink(b)
			r := open(b, test.marks...)
			payload := make([]byte, test.size)
			for i := range payload {
				payload[i] = other[i%len(other)]
			}
			b.ResetTimer()
			flood(s, b.N, payload)
			b.StopTimer()
			spent, count := r.Spent(b)
			b.ReportMetric(float64(spent.Nanoseconds())/float64(count), "ns/drop")
		})
	}
}
