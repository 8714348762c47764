package main

import (
	"io"
	"log/slog"
	"os"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/plexus-cni/plexus/types"
)

// newLogger makes the log that the configuration asks for, and what ends it.
func newLogger(config *types.Config) (*slog.Logger, func()) {
	var writers []io.Writer
	end := func() {}
	if config.LogFile != "" {
		file := &lumberjack.Logger{
			Filename:   config.LogFile,
			MaxAge:     config.LogOptions.MaxAge,
			MaxSize:    config.LogOptions.MaxSize,
			MaxBackups: config.LogOptions.MaxBackups,
			Compress:   config.LogOptions.Compress,
		}
		writers = append(writers, file)
		end = func() { _ = file.Close() }
	}
	if config.LogToStderr {
		writers = append(writers, os.Stderr)
	}
	handler := slog.NewTextHandler(everyWriter(writers), &slog.HandlerOptions{Level: levelOf(config.LogLevel)})
	return slog.New(handler), end
}

// everyWriter writes to all, also after one that fails: a full disk must not silence
// standard error.
type everyWriter []io.Writer

func (w everyWriter) Write(p []byte) (int, error) {
	for _, writer := range w {
		_, _ = writer.Write(p)
	}
	return len(p), nil
}

// levelOf maps the names of Multus, and the usual ones.
func levelOf(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "verbose", "info":
		return slog.LevelInfo
	case "warning":
		return slog.LevelWarn
	case "panic":
		return slog.LevelError + 4 // nothing logs there
	default:
		return slog.LevelError
	}
}
