package delegate

import (
	"errors"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// A DEL reports its failure, code and message, and its success without one.
func TestDelReports(t *testing.T) {
	n := newSpecNode(t, "")
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	n.fail(t, "DEL", "eth0")
	if err := n.engine.Del(t.Context(), n.call); err == nil {
		t.Fatal("the DEL succeeded")
	}
	if len(n.source.published) != 2 {
		t.Fatalf("%d reports, want 2", len(n.source.published))
	}
	good, bad := n.source.published[0].Report, n.source.published[1].Report
	if good.Command != "DEL" || good.Code != 0 || good.Error != "" {
		t.Errorf("the report of a success: %+v", good)
	}
	if bad.Command != "DEL" || bad.ContainerID != "c1" || bad.Code != 900 || !strings.Contains(bad.Error, "chained says no") {
		t.Errorf("the report of a failure: %+v", bad)
	}
}

func TestReportedErrorIsBounded(t *testing.T) {
	report := newMeter().report("ADD", "c1", "", errors.New(strings.Repeat("x", 2*types.MaxReportError)))
	if len(report.Error) != types.MaxReportError || !strings.HasSuffix(report.Error, "x…") {
		t.Errorf("it has %d bytes", len(report.Error))
	}
}
