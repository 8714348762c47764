package types

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// selecting gives an annotation that selects n networks, in both forms.
func selecting(n int) map[string]string {
	return map[string]string{
		"short form": strings.TrimSuffix(strings.Repeat("a,", n), ","),
		"JSON":       "[" + strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, n), ",") + "]",
	}
}

func TestSelectionsAtTheLimit(t *testing.T) {
	for name, annotation := range selecting(MaxNetworks) {
		if selections, _, err := ParseSelections(annotation, "default"); err != nil || len(selections) != 128 {
			t.Errorf("%s: %d selections, %v", name, len(selections), err)
		}
	}
}

func TestSelectionsBeyondTheLimit(t *testing.T) {
	for _, n := range []int{MaxNetworks + 1, 100000} {
		for name, annotation := range selecting(n) {
			selections, _, err := ParseSelections(annotation, "default")
			check.Error(t, err, AnnotationNetworks, fmt.Sprintf("names %d networks", n), "at most 128")
			if selections != nil || CodeOf(err, 0) != CodeInvalidConfig || len(err.Error()) > 200 {
				t.Errorf("%s of %d: %d selections, code %d, %d bytes of error", name, n, len(selections), CodeOf(err, 0), len(err.Error()))
			}
		}
	}
}

// Each of them has a fault of its own.
func TestSelectionsWithManyFaults(t *testing.T) {
	for name, annotation := range map[string]string{
		"short form": strings.TrimSuffix(strings.Repeat("A,", MaxNetworks), ","),
		"JSON":       "[" + strings.TrimSuffix(strings.Repeat(`{"ips":7},`, MaxNetworks), ",") + "]",
	} {
		_, _, err := ParseSelections(annotation, "default")
		check.Error(t, err, "more")
		if len(err.Error()) > 4000 {
			t.Errorf("%s: %d bytes of error", name, len(err.Error()))
		}
	}
}

// A message tells of ten faults; what is asked of the error finds every one.
func TestJoinOfMany(t *testing.T) {
	for n, want := range map[int]string{
		10:    "",
		11:    "; and 1 more",
		12:    "; and 2 more",
		30000: "; and 29990 more",
	} {
		var faults []error
		for i := range n {
			faults = append(faults, fmt.Errorf("fault %d", i))
		}
		faults[n-1] = fmt.Errorf("the last: %w", WithCode(CodeTryAgainLater, io.ErrNoProgress))
		err := Join(faults...)
		message := err.Error()
		if strings.Count(message, "; ") != min(n-1, 10) || !strings.HasPrefix(message, "fault 0; fault 1; ") || !strings.HasSuffix(message, want) || len(message) > 200 {
			t.Errorf("of %d: %.300s", n, message)
		}
		if !errors.Is(err, io.ErrNoProgress) || CodeOf(err, 0) != CodeTryAgainLater {
			t.Errorf("of %d: the last one is lost, code %d", n, CodeOf(err, 0))
		}
	}
}

func TestNetConfFlannelWithinFlannel(t *testing.T) {
	for name, config := range map[string]string{
		"itself":         `{"name":"x","type":"flannel","delegate":{"type":"flannel"}}`,
		"with a third":   `{"name":"x","type":"flannel","delegate":{"type":"flannel","delegate":{"type":"evil"}}}`,
		"in other case":  `{"name":"x","type":"flannel","Delegate":{"TYPE":"flannel"}}`,
		"within a chain": `{"name":"x","plugins":[{"type":"a"},{"type":"flannel","delegate":{"type":"flannel"}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseNetConf([]byte(config), "")
			check.Error(t, err, "delegate.type: must not be flannel again")
		})
	}
}

func TestNetConfDropPrevResult(t *testing.T) {
	c := mustNetConf(t, `{"name":"x","plugins":[{"type":"a","PrevResult":{"ips":[]}},{"type":"b","prevResult":{}},{"type":"c"}]}`)
	c.DropPrevResult()
	wantBytes(t, `{"name":"x","plugins":[{"type":"a"},{"type":"b"},{"type":"c"}]}`, c)
}

// However long what a pod's annotation says, the message about it is short.
func TestSelectionsOfLongElements(t *testing.T) {
	long := strings.Repeat("A", 250_000)
	for _, value := range []string{
		long, long + "/x", "a@" + long, `[{"name":"` + long + `"}]`, `[{"name":"a","namespace":"` + long + `"}]`,
		`[{"name":"a","interface":"` + long + `"}]`, `[{"name":"a","ips":["` + long + `"]}]`, `[{"name":"a","mac":"` + long + `"}]`,
		`[{"name":"a","default-route":["` + long + `"]}]`, `[{"name":"a","portMappings":[{"hostPort":1,"containerPort":1,"protocol":"` + long + `"}]}]`,
	} {
		_, _, err := ParseSelections(value, "default")
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.40s: an error of %d bytes: %.200v", value, len(err.Error()), err)
		}
	}
	_, unknown, err := ParseSelections(`[{"name":"a","`+long+`":1}]`, "default")
	if err != nil || len(unknown) != 1 || len(unknown[0]) > 300 {
		t.Errorf("an unknown key: %v, %.200q", err, unknown)
	}
}
