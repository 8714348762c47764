package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

// newLogger makes the log that the configuration asks for, and what ends it. A file that
// cannot be written is no reason not to attach a pod: then it is standard error.
func newLogger(config *vf.Config) (*slog.Logger, func()) {
	var writer io.Writer = os.Stderr
	end := func() {}
	if config.LogFile != "" {
		file, err := os.OpenFile(config.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err == nil {
			writer, end = file, func() { _ = file.Close() }
		}
	}
	return slog.New(slog.NewTextHandler(writer, &slog.HandlerOptions{Level: levelOf(config.LogLevel)})), end
}

// levelOf maps the names of sriov-cni. Without one, a runtime's log gets what deserves a
// look and no more.
func levelOf(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "error":
		return slog.LevelError
	case "panic":
		return slog.LevelError + 4 // nothing logs there
	default:
		return slog.LevelWarn
	}
}
