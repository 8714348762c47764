package node

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
)

// scanLimit is how long a record may be missing unnoticed: two scans of the journal.
const scanLimit = 75 * time.Second

// An agent with another --state-dir than plexus writes to says so, and is ready again once
// it finds a record that a call reported.
func TestKubeAgentOtherStateFolder(t *testing.T) {
	n := newNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket()}
	other := n.Path("other")
	check.Must(t, os.Mkdir(other, 0o700))
	a := n.startAgent(n.agentKubeconfig(), "--state-dir", other)
	a.awaitReady()
	released, s := n.sandbox(n.podWith("otherfolder", "released", "")), n.sandbox(n.annotated("otherfolder"))
	released.must("ADD")
	released.must("DEL")
	s.must("ADD")
	check.Eventually(t, "the agent to say so", scanLimit, func() error {
		status, body, err := a.get("/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, other) || !strings.Contains(body, s.ID) || !strings.Contains(body, "--state-dir")) {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return errors.Join(err, a.wantMetric("plexus_journal_missing_records_total", "1"))
	})
	if got := strings.Count(a.logged(), "a record that a call reported is missing"); got != 1 {
		t.Errorf("it logs %d times", got)
	}
	check.Must(t, os.Remove(other))
	check.Must(t, os.Symlink(n.stateDir(), other))
	s.must("CHECK")
	a.awaitReady()
	s.awaitStatus()
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// A folder that is removed and made anew while the agent runs is found.
func TestKubeAgentStateFolderMadeAnew(t *testing.T) {
	n, a := withAgent(t, true)
	first := n.sandbox(n.podWith("anew", "first", ""))
	first.must("ADD")
	first.awaitStatus()
	first.must("DEL")
	check.Must(t, os.RemoveAll(n.stateDir()))
	s := n.sandbox(n.annotated("anew"))
	s.must("ADD")
	s.awaitStatus()
	s.must("DEL")
	a.awaitReady()
	a.stop()
	n.mustBeClean()
}
