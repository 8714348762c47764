package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const (
	configFlag = "config"
	envPrefix  = "PLEXUS_AGENT"
)

// readSettings sets the flags that the command line left out from the environment and
// from the file that --config names. All faults are reported at once.
func readSettings(flags *pflag.FlagSet) error {
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	v.AllowEmptyEnv(true) // "" is a value: no metrics address, no socket
	if file := firstOf(flags.Lookup(configFlag).Value.String(), v.GetString(configFlag)); file != "" {
		v.SetConfigFile(file)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			return fmt.Errorf("--%s: %w", configFlag, err)
		}
	}
	var faults []error
	for _, key := range v.AllKeys() {
		if flags.Lookup(key) == nil {
			faults = append(faults, fmt.Errorf("%s: unknown setting %q", v.ConfigFileUsed(), key))
		}
	}
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || !v.IsSet(flag.Name) || slices.Contains([]string{configFlag, "help", "version"}, flag.Name) {
			return
		}
		if err := flags.Set(flag.Name, settingText(v.Get(flag.Name))); err != nil {
			faults = append(faults, fmt.Errorf("%s (environment %s, or file): %w", flag.Name, envName(flag.Name), err))
		}
	})
	return errors.Join(faults...)
}

// settingText writes a value of the environment or of YAML as the command line would.
func settingText(value any) string {
	if list, ok := value.([]any); ok {
		texts := make([]string, len(list))
		for i := range list {
			texts[i] = fmt.Sprint(list[i])
		}
		return strings.Join(texts, ",")
	}
	return fmt.Sprint(value)
}

func envName(flag string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
