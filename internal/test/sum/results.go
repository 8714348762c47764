package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	passed  = "pass"
	failed  = "fail"
	skipped = "skip"
)

// result is what became of one test, or of a step that counts as one.
type result struct {
	Run     string `json:"run"`
	Package string `json:"package,omitempty"`
	Test    string `json:"test,omitempty"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

func failure(label, reason string) result {
	return result{Run: label, Outcome: failed, Reason: reason}
}

func (r result) String() string {
	name := strings.Join(strings.Fields("["+r.Run+"] "+r.Package+" "+r.Test), " ")
	if r.Reason == "" {
		return name
	}
	return name + "\n\t" + strings.ReplaceAll(r.Reason, "\n", "\n\t")
}

func count(results []result, outcome string) int {
	n := 0
	for _, r := range results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

// report names every skipped and every failed test; its last line is the count.
func report(w io.Writer, results []result) error {
	list(w, "SKIPPED", results, skipped)
	list(w, "FAILED", results, failed)
	bad := count(results, failed)
	_, err := fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", count(results, passed), bad, count(results, skipped))
	if bad > 0 {
		return errFailed
	}
	return err
}

func list(w io.Writer, title string, results []result, outcome string) {
	n := count(results, outcome)
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "\n======== %d %s ========\n", n, title)
	for _, r := range results {
		if r.Outcome == outcome {
			fmt.Fprintln(w, title, r)
		}
	}
	fmt.Fprintln(w)
}

// store is the file, one JSON result a line, in which runs add up; "" is none.
type store string

func (s store) add(results []result) error {
	f, err := os.OpenFile(string(s), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, r := range results {
		if err := enc.Encode(r); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func (s store) load() ([]result, error) {
	if s == "" {
		return nil, nil
	}
	f, err := os.Open(string(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var results []result
	for dec := json.NewDecoder(f); ; {
		var r result
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			return results, nil
		case err != nil:
			return nil, fmt.Errorf("read results from %s: %w", s, err)
		}
		results = append(results, r)
	}
}
