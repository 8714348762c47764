package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plexus-cni/plexus/e2e/harness/multus"
)

// setBinaries gives the environment of make.
func setBinaries(t *testing.T) {
	t.Helper()
	for _, name := range []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", "PLEXUS_KUBE_BIN", multus.BinVar} {
		t.Setenv(name, "/"+name)
	}
}

func TestParseFlags(t *testing.T) {
	setBinaries(t)
	whole := options{
		pairs: 25, bursts: 7, sizes: []int{1, 2, 4, 16, 40}, starts: 100, scale: true, annotations: true, limits: true,
		counts: []int{0, 2, 8}, sources: allSources,
	}
	quick := options{pairs: 15, bursts: 3, sizes: []int{2, 4, 40}, starts: 30, counts: []int{0, 2}, sources: []string{byAgent, api}}
	readme := options{
		pairs: 25, bursts: 7, sizes: []int{40}, starts: 100, limits: true, markdown: true,
		counts: []int{0, 2}, sources: []string{byAgent, api, multusThin, multusThick},
	}
	changed := func(o options, change func(*options)) options { change(&o); return o }
	for name, test := range map[string]struct {
		args []string
		want options
	}{
		"no flags":          {nil, whole},
		"fields with blank": {[]string{"-networks", "0, 2", "-sources", "api"}, changed(whole, func(o *options) { o.counts, o.sources = []int{0, 2}, []string{api} })},
		"equal sizes":       {[]string{"-burst-sizes", "0.1x,0.5x,1,3"}, changed(whole, func(o *options) { o.sizes = []int{1, 3} })},
		"quick":             {[]string{"-quick"}, quick},
		"quick, with more":  {[]string{"-n", "3", "-quick", "-scale"}, changed(quick, func(o *options) { o.pairs, o.scale = 3, true })},
		"quick not wanted":  {[]string{"-quick=false"}, whole},
		"readme":            {[]string{"-readme"}, readme},
		"readme, aligned":   {[]string{"-readme", "-markdown=false"}, changed(readme, func(o *options) { o.markdown = false })},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseFlags(test.args, 2)
			if err != nil {
				t.Fatal(err)
			}
			ignored := cmpopts.IgnoreFields(options{}, "bin", "plugins", "kube", "multusBin")
			if diff := cmp.Diff(&test.want, got, cmp.AllowUnexported(options{}), ignored); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

// Each error names the flag and what is allowed.
func TestParseFlagsFails(t *testing.T) {
	setBinaries(t)
	for args, want := range map[string][]string{
		"-n 0":                       {"-n", "less than 1"},
		"-bursts -1":                 {"-bursts", "less than 0"},
		"-starts 0":                  {"-starts", "less than 1"},
		"-networks 65":               {"-networks", `"65"`, "from 0 to 64"},
		"-networks 2,":               {"-networks", `""`, "from 0 to 64"},
		"-networks 2,2":              {"-networks", `"2"`, "twice"},
		"-sources agnet":             {"-sources", `"agnet"`, byAgent, multusThick},
		"-sources api,agent,api":     {"-sources", `"api"`, "twice"},
		"-burst-sizes 0":             {"-burst-sizes", `"0"`, "from 1 to 1000", "0.5x"},
		"-burst-sizes 1001":          {"-burst-sizes", `"1001"`, "from 1 to 1000"},
		"-burst-sizes 0x":            {"-burst-sizes", `"0x"`},
		"-burst-sizes NaNx":          {"-burst-sizes", `"NaNx"`},
		"-burst-sizes 2.5":           {"-burst-sizes", `"2.5"`},
		"-quick -readme":             {"-quick", "-readme", "only one"},
		"quick":                      {`"quick"`, "only flags"},
		"-n x":                       {"-n", `"x"`, "-h lists"},
		"-unheard 1":                 {"-unheard", "-h lists"},
		"-n 0 -networks x -starts 0": {"-n", "-networks", "-starts"},
	} {
		t.Run(args, func(t *testing.T) {
			_, err := parseFlags(strings.Fields(args), 2)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestParseFlagsNeedsExecutables(t *testing.T) {
	for _, name := range []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", "PLEXUS_KUBE_BIN", multus.BinVar} {
		t.Run(name, func(t *testing.T) {
			setBinaries(t)
			t.Setenv(name, "")
			if _, err := parseFlags(nil, 2); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v does not name %s", err, name)
			}
			_, err := parseFlags([]string{"-sources", "agent"}, 2)
			if needed := name != multus.BinVar; needed != (err != nil) {
				t.Errorf("without Multus: error %v", err)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		field       string
		cores, want int
		perCore     string
	}{
		{"0.5x", 2, 1, "0.5"},
		{"0.5x", 1, 1, "1"},
		{"0.5x", 3, 2, "0.67"},
		{"0.1x", 2, 1, "0.5"},
		{"8x", 2, 16, "8"},
		{"8x", 192, 1000, "5.21"},
		{"40", 192, 40, "0.21"},
		{"1000", 2, 1000, "500"},
	} {
		got, err := parseSize(test.field, test.cores)
		if err != nil || got != test.want {
			t.Errorf("%s on %d cores: %d pods, error %v, want %d", test.field, test.cores, got, err, test.want)
		}
		if got := perCore(got, test.cores); got != test.perCore {
			t.Errorf("%s on %d cores: %s per core, want %s", test.field, test.cores, got, test.perCore)
		}
	}
}

func TestBurstRounds(t *testing.T) {
	for pods, want := range map[int]int{1: 21, 13: 21, 16: 14, 20: 14, 21: 7, 40: 7, 1000: 7} {
		if got := burstRounds(7, pods); got != want {
			t.Errorf("bursts of %d pods: %d rounds, want %d", pods, got, want)
		}
	}
}
