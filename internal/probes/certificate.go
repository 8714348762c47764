package probes

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/plexus-cni/plexus/internal/host"
)

// maxFile bounds a file of a certificate or key, in bytes. A FIFO would be waited for without end.
const maxFile = 1 << 20

// Certificate is a certificate and its key, in files. They are read for every connection, so
// that a new certificate needs no restart.
type Certificate struct {
	certificate, key string // files

	mu    sync.Mutex
	read  [2][]byte // the files, as they were when they could be used last
	valid *tls.Certificate
}

// LoadCertificate reads the files that the flags --metrics-tls-cert and --metrics-tls-key
// name. It gives nil if neither is set.
func LoadCertificate(certificate, key string) (*Certificate, error) {
	switch {
	case certificate == "" && key == "":
		return nil, nil
	case certificate == "" || key == "":
		return nil, errors.New("--metrics-tls-cert and --metrics-tls-key: must be set together")
	}
	c := &Certificate{certificate: certificate, key: key}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) load() error {
	certificate, err := host.ReadFile(c.certificate, maxFile)
	if err != nil {
		return fmt.Errorf("--metrics-tls-cert: %w", err)
	}
	key, err := host.ReadFile(c.key, maxFile)
	if err != nil {
		return fmt.Errorf("--metrics-tls-key: %w", err)
	}
	if c.valid != nil && bytes.Equal(c.read[0], certificate) && bytes.Equal(c.read[1], key) {
		return nil
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("--metrics-tls-cert %s and --metrics-tls-key %s: %w", c.certificate, c.key, err)
	}
	c.read, c.valid = [2][]byte{certificate, key}, &pair
	return nil
}

// current gives the certificate as it is now, or the last one that could be used: while
// the files change, they may not fit each other.
func (c *Certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.load()
	return c.valid, err
}

func (c *Certificate) config(log *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // a connection of HTTP/2 could ask for much at a time
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			certificate, err := c.current()
			if err != nil {
				log.Warn("the new certificate of the metrics cannot be used; the last one serves", "error", err)
			}
			return certificate, nil
		},
	}
}
