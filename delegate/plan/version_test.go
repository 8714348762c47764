package plan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// A list without a cniVersion gets the highest that all its plugins speak, with those that they
// run themselves. One that says nothing is taken for one of the call's version.
func TestSettleVersion(t *testing.T) {
	const (
		chain = `{"name":"n","plugins":[{"type":"a","ipam":{"type":"i"}},{"type":"b"}]`
		newer = "0.1.0 0.2.0 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0"
	)
	for name, test := range map[string]struct {
		conf   string
		spoken map[string]string // by plugin; "" for one that says nothing
		want   string            // "" for an error
		errors []string
		warns  int
	}{
		"all of the newest":             {chain + "}", map[string]string{"a": newer, "i": newer, "b": newer}, "1.1.0", nil, 0},
		"an empty one":                  {chain + `,"cniVersion":""}`, map[string]string{"a": newer, "i": "0.4.0 1.0.0", "b": newer}, "1.0.0", nil, 0},
		"the IPAM plugin is older":      {chain + "}", map[string]string{"a": newer, "i": "0.3.0 0.3.1", "b": newer}, "0.3.1", nil, 0},
		"older than any list":           {chain + "}", map[string]string{"a": newer, "i": newer, "b": "0.1.0"}, "0.1.0", nil, 0},
		"in no order":                   {chain + "}", map[string]string{"a": "1.0.0 0.4.0", "i": "0.4.0 1.0.0", "b": newer}, "1.0.0", nil, 0},
		"newer than libcni":             {chain + "}", map[string]string{"a": newer + " 9.9.9", "i": newer + " 9.9.9", "b": newer + " 9.9.9"}, "1.1.0", nil, 0},
		"its own":                       {chain + `,"cniVersion":"0.4.0"}`, nil, "0.4.0", nil, 0},
		"a choice":                      {chain + `,"cniVersions":["1.0.0","0.4.0"]}`, map[string]string{"a": newer, "i": newer, "b": newer}, "1.0.0", nil, 0},
		"a choice, and an older plugin": {chain + `,"cniVersions":["1.0.0","0.4.0"]}`, map[string]string{"a": newer, "i": newer, "b": "0.4.0"}, "0.4.0", nil, 0},
		"one says nothing":              {chain + "}", map[string]string{"a": newer, "i": newer, "b": ""}, "1.0.0", nil, 1},
		"none says anything":            {chain + "}", map[string]string{"a": "", "i": "", "b": ""}, "1.0.0", nil, 3},
		"none in common":                {chain + "}", map[string]string{"a": "1.0.0", "i": newer, "b": "0.3.1 0.4.0"}, "", []string{"cniVersion: is missing", "a (1.0.0), b (0.3.1, 0.4.0), i ("}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			warned := 0
			p := &Planner{Config: &types.Config{CNIVersion: "1.0.0"}, Warn: func(string, ...any) { warned++ }}
			p.Speak = func(_ context.Context, plugin string) ([]string, error) {
				if test.spoken[plugin] == "" {
					return nil, errors.New("nothing")
				}
				return strings.Fields(test.spoken[plugin]), nil
			}
			conf, err := types.ParseNetConf([]byte(test.conf), "")
			check.Must(t, err)
			err = p.SettleVersion(t.Context(), conf)
			if test.want == "" {
				check.Error(t, err, test.errors...)
				return
			}
			check.Must(t, err)
			check.Equal(t, "version", conf.Version(), test.want)
			check.Equal(t, "choice that is left", conf.Versions(), nil)
			check.Equal(t, "warnings", warned, test.warns)
		})
	}
}

// The error is short, whatever a plugin says.
func TestSettleVersionIsBrief(t *testing.T) {
	for what, said := range map[string][]string{"many": slices.Repeat([]string{"9.9.9"}, 1<<16), "a long one": {strings.Repeat("9", 1<<20)}} {
		p := &Planner{Config: &types.Config{CNIVersion: "1.0.0"}, Speak: func(context.Context, string) ([]string, error) { return said, nil }}
		conf, err := types.ParseNetConf([]byte(`{"name":"n","type":"a"}`), "")
		check.Must(t, err)
		err = p.SettleVersion(t.Context(), conf)
		check.Error(t, err, "cniVersion: is missing", "a (9")
		if n := len(err.Error()); n > 1<<10 {
			t.Errorf("%s: an error of %d bytes", what, n)
		}
	}
}
