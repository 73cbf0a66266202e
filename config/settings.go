package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// envPrefix begins the environment variables: --log.level is TOCSIN_LOG_LEVEL.
const envPrefix = "TOCSIN"

// The values that log.level and log.format can have.
var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"logfmt", "json"}
)

// Settings are what the command line, the environment and the file say together, in this order.
type Settings struct {
	ConfigFile    string
	ListenAddress string
	ExternalURL   string
	WebConfigFile string
	StoragePath   string
	LogLevel      string
	LogFormat     string
}

// AddFlags defines the flags of the settings.
func AddFlags(flags *pflag.FlagSet) {
	d := Default()
	flags.String("config.file", "tocsin.yaml", "Configuration file.")
	flags.String("web.listen-address", d.Web.ListenAddress, "Address to listen on.")
	flags.String("web.external-url", d.Web.ExternalURL,
		"URL under which people reach the daemon, for links in notifications.")
	flags.String("web.config.file", d.Web.ConfigFile,
		"File with TLS and authentication of the server, as the Prometheus exporter toolkit has it.")
	flags.String("storage.path", d.Storage.Path, "Folder of all that is kept.")
	flags.String("log.level", d.Log.Level, "One of "+strings.Join(logLevels, ", ")+".")
	flags.String("log.format", d.Log.Format, "One of "+strings.Join(logFormats, ", ")+".")
}

// LoadSettings returns the settings: a flag that was given, else a TOCSIN_ variable of the
// environment, else what the file says. c may be nil while the file is not read: then only
// ConfigFile is final. flags must be those of AddFlags.
func LoadSettings(flags *pflag.FlagSet, c *Config) (Settings, error) {
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(flags); err != nil {
		return Settings{}, fmt.Errorf("bind flags: %w", err)
	}
	if c != nil {
		if err := v.MergeConfigMap(c.settings()); err != nil {
			return Settings{}, fmt.Errorf("merge settings of the file: %w", err)
		}
	}
	s := Settings{
		ConfigFile:    v.GetString("config.file"),
		ListenAddress: v.GetString("web.listen-address"),
		ExternalURL:   v.GetString("web.external-url"),
		WebConfigFile: v.GetString("web.config.file"),
		StoragePath:   v.GetString("storage.path"),
		LogLevel:      v.GetString("log.level"),
		LogFormat:     v.GetString("log.format"),
	}
	return s, s.check()
}

// settings returns what the file says, by the names of the flags.
func (c *Config) settings() map[string]any {
	return map[string]any{
		"web": map[string]any{
			"listen-address": c.Web.ListenAddress,
			"external-url":   c.Web.ExternalURL,
			"config":         map[string]any{"file": c.Web.ConfigFile},
		},
		"storage": map[string]any{"path": c.Storage.Path},
		"log":     map[string]any{"level": c.Log.Level, "format": c.Log.Format},
	}
}

// check names the flag of each bad value: what the file says was checked before, so the value
// is from the command line or the environment.
func (s Settings) check() error {
	var errs []error
	choice := func(flag, value string, values []string) {
		if !slices.Contains(values, value) {
			errs = append(errs, fmt.Errorf("--%s: %q is not one of %s",
				flag, value, strings.Join(values, ", ")))
		}
	}
	choice("log.level", s.LogLevel, logLevels)
	choice("log.format", s.LogFormat, logFormats)
	if s.ListenAddress == "" {
		errs = append(errs, errors.New("--web.listen-address: is empty"))
	}
	if s.StoragePath == "" {
		errs = append(errs, errors.New("--storage.path: is empty"))
	}
	if s.ExternalURL != "" {
		if err := checkURL(s.ExternalURL); err != nil {
			errs = append(errs, fmt.Errorf("--web.external-url: %q %w", s.ExternalURL, err))
		}
	}
	return errors.Join(errs...)
}
