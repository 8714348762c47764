package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/multus"
)

// options say what to measure.
type options struct {
	pairs       int
	bursts      int   // pairs of bursts of burstSize sandboxes; of smaller ones there are more
	sizes       []int // of bursts, in sandboxes
	starts      int   // of each executable
	scale       bool
	annotations bool
	limits      bool
	counts      []int // of secondary networks
	sources     []string
	markdown    bool
	bin         string // the folder of plexus
	plugins     string // the folder of the other plugins
	kube        string // the folder of etcd and kube-apiserver
	multusBin   string // the folder of Multus
}

// presets are flags, each of which sets others that are not given.
var presets = map[string]map[string]string{
	"quick": {
		"n": "15", "bursts": "3", "starts": "30", "networks": "0,2", "sources": "agent,api", "burst-sizes": "1x,2x,40",
		"scale": "false", "annotations": "false", "limits": "false",
	},
	"readme": {
		"networks": "0,2", "sources": "agent,api,multus-thin,multus-thick", "burst-sizes": "40",
		"scale": "false", "annotations": "false", "markdown": "true",
	},
}

// parseFlags reads the command line and the environment that make gives.
func parseFlags(args []string, cores int) (*options, error) {
	opts := &options{
		bin: os.Getenv("PLEXUS_BIN"), plugins: os.Getenv("PLEXUS_CNI_BIN"), kube: os.Getenv("PLEXUS_KUBE_BIN"), multusBin: os.Getenv(multus.BinVar),
	}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.IntVar(&opts.pairs, "n", 25, "`number` of pairs of each kind")
	set.IntVar(&opts.bursts, "bursts", 7, "`number` of pairs of bursts of 40 pods, and up to three times as many of fewer pods; 0 for none")
	set.IntVar(&opts.starts, "starts", 100, "how many `times` each executable is started")
	set.BoolVar(&opts.scale, "scale", true, "measure an agent in a large cluster")
	set.BoolVar(&opts.annotations, "annotations", true, "measure large annotations")
	set.BoolVar(&opts.limits, "limits", true, "measure a burst within the limits of each DaemonSet")
	set.BoolVar(&opts.markdown, "markdown", false, "print tables for docs/performance.md")
	counts := set.String("networks", "0,2,8", "`numbers` of secondary networks; 0 is a plain pod")
	sources := set.String("sources", strings.Join(allSources, ","), "where facts come from: `some` of these")
	sizes := set.String("burst-sizes", "0.5x,1x,2x,8x,40", "`sizes` of bursts: numbers of pods, or with x pods per core")
	set.Bool("quick", false, "measure less, in 3 minutes; other flags change what")
	set.Bool("readme", false, "measure what README's table needs; other flags change what")
	if err := parseSet(set, args); err != nil {
		return nil, err
	}
	var errs [3]error
	opts.counts, errs[0] = parseList("networks", *counts, parseCount)
	opts.sources, errs[1] = parseList("sources", *sources, parseSource)
	opts.sizes, errs[2] = parseList("burst-sizes", *sizes, func(field string) (int, error) { return parseSize(field, cores) })
	opts.sizes = unique(opts.sizes)
	return opts, errors.Join(append(errs[:], opts.check())...)
}

// parseSet parses what is given, and applies a preset. -h prints all flags.
func parseSet(set *flag.FlagSet, args []string) error {
	set.SetOutput(io.Discard) // it would print every flag beside an error
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		set.SetOutput(os.Stdout)
		set.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w (-h lists what is allowed)", err)
	case set.NArg() > 0:
		return fmt.Errorf("%q: only flags are allowed (-h lists them)", set.Arg(0))
	}
	return applyPreset(set)
}

// applyPreset sets the flags of a preset that is chosen, unless they are given.
func applyPreset(set *flag.FlagSet) error {
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() != "false" })
	if given["quick"] && given["readme"] {
		return errors.New("-quick, -readme: only one of them is allowed")
	}
	for preset, values := range presets {
		if !given[preset] {
			continue
		}
		for name, value := range values {
			if _, ok := given[name]; ok {
				continue
			}
			if err := set.Set(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// check finds what is not allowed of numbers and of the environment.
func (o *options) check() error {
	var errs []error
	for _, number := range []struct {
		flag         string
		value, least int
	}{{"n", o.pairs, 1}, {"bursts", o.bursts, 0}, {"starts", o.starts, 1}} {
		if number.value < number.least {
			errs = append(errs, fmt.Errorf("-%s: %d is less than %d", number.flag, number.value, number.least))
		}
	}
	needed := map[string]string{"PLEXUS_BIN": o.bin, "PLEXUS_CNI_BIN": o.plugins, "PLEXUS_KUBE_BIN": o.kube}
	if slices.Contains(o.sources, multusThin) || slices.Contains(o.sources, multusThick) {
		needed[multus.BinVar] = o.multusBin
	}
	for name, value := range needed {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s must be set, as `make bench` does", name))
		}
	}
	return errors.Join(errs...)
}

// parseList reads the fields of a flag, none of which may be there twice.
func parseList[T any](name, text string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	seen := map[string]bool{}
	for field := range strings.SplitSeq(text, ",") {
		field = strings.TrimSpace(field)
		value, err := parse(field)
		if err == nil && seen[field] {
			err = fmt.Errorf("%q is there twice", field)
		}
		if err != nil {
			return nil, fmt.Errorf("-%s: %w", name, err)
		}
		seen[field] = true
		all = append(all, value)
	}
	return all, nil
}

func parseCount(field string) (int, error) {
	count, err := strconv.Atoi(field)
	if err != nil || count < 0 || count > maxCount {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", field, maxCount)
	}
	return count, nil
}

func parseSource(field string) (string, error) {
	if !slices.Contains(allSources, field) {
		return "", fmt.Errorf("%q is not one of %s", field, strings.Join(allSources, ", "))
	}
	return field, nil
}

// parseSize gives a number of pods; one per core is rounded, and at least 1.
func parseSize(field string, cores int) (int, error) {
	if text, found := strings.CutSuffix(field, "x"); found {
		if perCore, err := strconv.ParseFloat(text, 64); err == nil && perCore > 0 && perCore <= maxPods {
			return int(min(max(math.Round(perCore*float64(cores)), 1), maxPods)), nil
		}
	} else if pods, err := strconv.Atoi(field); err == nil && pods >= 1 && pods <= maxPods {
		return pods, nil
	}
	return 0, fmt.Errorf("%q is neither a number of pods from 1 to %d, as 40 is, nor pods per core, as 0.5x is", field, maxPods)
}

// unique drops what has been there before: few cores make sizes equal.
func unique(sizes []int) []int {
	var all []int
	for _, size := range sizes {
		if !slices.Contains(all, size) {
			all = append(all, size)
		}
	}
	return all
}

// perCore gives the pods of each core, with at most two digits after the point.
func perCore(pods, cores int) string {
	return strconv.FormatFloat(math.Round(100*float64(pods)/float64(cores))/100, 'f', -1, 64)
}
