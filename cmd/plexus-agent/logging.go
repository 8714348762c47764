package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// logOptions are the flags that say how this program logs.
type logOptions struct {
	format string
	level  string
}

func (o *logOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.format, "log-format", "text", "how to log: `text` or json")
	flags.StringVar(&o.level, "log-level", "info", "what to log: `level` debug, info, warn or error, and what is above it")
}

// logger gives a logger that writes to w. The error is one of misuse, and names the flag.
func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return nil, misuse(fmt.Errorf("--log-level: must be debug, info, warn or error, got %q", o.level))
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, misuse(fmt.Errorf("--log-format: must be text or json, got %q", o.format))
}
