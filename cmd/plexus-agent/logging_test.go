package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestLogOptions(t *testing.T) {
	for _, tc := range []struct {
		name          string
		format, level string
		has, lacks    string
	}{
		{"text", "text", "info", `level=INFO msg=hello`, "quiet"},
		{"json", "json", "info", `"level":"INFO","msg":"hello"`, "quiet"},
		{"all", "text", "debug", `level=DEBUG msg=quiet`, "nothing"},
		{"capital letters", "text", "DEBUG", `level=DEBUG msg=quiet`, "nothing"},
		{"little", "json", "error", "", "hello"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := (&logOptions{format: tc.format, level: tc.level}).logger(&out)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("quiet")
			log.Info("hello")
			if !strings.Contains(out.String(), tc.has) || strings.Contains(out.String(), tc.lacks) {
				t.Errorf("want %q and not %q, got %s", tc.has, tc.lacks, &out)
			}
		})
	}
}

func TestLogOptionsRefused(t *testing.T) {
	for _, tc := range []struct{ format, level, want string }{
		{"xml", "info", `--log-format: must be text or json, got "xml"`},
		{"text", "loud", `--log-level: must be debug, info, warn or error, got "loud"`},
	} {
		_, err := (&logOptions{format: tc.format, level: tc.level}).logger(nil)
		var wrong *misuseError
		if !errors.As(err, &wrong) || err.Error() != tc.want {
			t.Errorf("got %v, want the misuse %s", err, tc.want)
		}
	}
}
