package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/plexus-cni/plexus/internal/host"
)

// maxTraceFile bounds a file of certificates, in bytes. A FIFO would be waited for without end.
const maxTraceFile = 4 << 20

// traceSetting gives the variable that counts for traces, and its value.
func traceSetting(name string) (variable, value string) {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		if value := strings.TrimSpace(os.Getenv(prefix + name)); value != "" {
			return prefix + name, value
		}
	}
	return "OTEL_EXPORTER_OTLP_" + name, ""
}

// checkTraceFiles refuses files of certificates that cannot be used. The SDK reads them, but
// would go on without one, and every upload would fail.
func checkTraceFiles() error { return errors.Join(checkAuthority(), checkClientCertificate()) }

func checkAuthority() error {
	variable, file := traceSetting("CERTIFICATE")
	if file == "" {
		return nil
	}
	data, err := host.ReadFile(file, maxTraceFile)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return fmt.Errorf("%s: %s has no certificate (PEM)", variable, file)
	}
	return nil
}

func checkClientCertificate() error {
	variable, file := traceSetting("CLIENT_CERTIFICATE")
	keyVariable, keyFile := traceSetting("CLIENT_KEY")
	switch {
	case file == "" && keyFile == "":
		return nil
	case file == "" || keyFile == "":
		return fmt.Errorf("%s and %s: must be set together", variable, keyVariable)
	}
	if err := checkPair(file, keyFile); err != nil {
		return fmt.Errorf("%s and %s: %w", variable, keyVariable, err)
	}
	return nil
}

func checkPair(file, keyFile string) error {
	certificate, err := host.ReadFile(file, maxTraceFile)
	if err != nil {
		return err
	}
	key, err := host.ReadFile(keyFile, maxTraceFile)
	if err != nil {
		return err
	}
	_, err = tls.X509KeyPair(certificate, key)
	return err
}
