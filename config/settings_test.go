package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSettingsFlagOverEnvironmentOverFile(t *testing.T) {
	file := head + "log: {level: warn, format: json}\nweb: {listen_address: ':1', config_file: web.yml}\nstorage: {path: /file}\n"
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		want Settings
	}{
		{
			name: "file",
			want: Settings{
				ConfigFile: "tocsin.yaml", ListenAddress: ":1", WebConfigFile: "web.yml",
				StoragePath: "/file", LogLevel: "warn", LogFormat: "json",
			},
		},
		{
			name: "environment",
			env: map[string]string{
				"TOCSIN_CONFIG_FILE": "/etc/t.yaml", "TOCSIN_WEB_LISTEN_ADDRESS": ":2",
				"TOCSIN_WEB_CONFIG_FILE": "env.yml", "TOCSIN_WEB_EXTERNAL_URL": "https://t.example.com",
				"TOCSIN_STORAGE_PATH": "/env", "TOCSIN_LOG_LEVEL": "error",
			},
			want: Settings{
				ConfigFile: "/etc/t.yaml", ListenAddress: ":2", WebConfigFile: "env.yml",
				ExternalURL: "https://t.example.com", StoragePath: "/env", LogLevel: "error", LogFormat: "json",
			},
		},
		{
			name: "flags",
			args: []string{"--log.level=debug", "--storage.path=/flag", "--config.file=x", "--web.listen-address=:9977"},
			env:  map[string]string{"TOCSIN_STORAGE_PATH": "/env", "TOCSIN_LOG_FORMAT": "logfmt"},
			want: Settings{
				ConfigFile: "x", ListenAddress: ":9977", WebConfigFile: "web.yml",
				StoragePath: "/flag", LogLevel: "debug", LogFormat: "logfmt",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			flags := pflag.NewFlagSet("tocsin", pflag.ContinueOnError)
			AddFlags(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			got, err := LoadSettings(flags, parseOK(t, file))
			if err != nil || got != tc.want {
				t.Errorf("LoadSettings() = %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func TestSettingsWithoutAFile(t *testing.T) {
	flags := pflag.NewFlagSet("tocsin", pflag.ContinueOnError)
	AddFlags(flags)
	got, err := LoadSettings(flags, nil)
	want := Settings{
		ConfigFile: "tocsin.yaml", ListenAddress: ":9977", StoragePath: "data",
		LogLevel: "info", LogFormat: "logfmt",
	}
	if err != nil || got != want {
		t.Errorf("LoadSettings() = %+v, %v\nwant %+v", got, err, want)
	}
}

func TestBadSettingsNameTheFlag(t *testing.T) {
	t.Setenv("TOCSIN_LOG_LEVEL", "loud")
	flags := pflag.NewFlagSet("tocsin", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--web.external-url=tocsin", "--log.format=xml", "--storage.path="}); err != nil {
		t.Fatal(err)
	}
	_, err := LoadSettings(flags, nil)
	want := `--log.level: "loud" is not one of debug, info, warn, error
--log.format: "xml" is not one of logfmt, json
--storage.path: is empty
--web.external-url: "tocsin" is not an http or https URL`
	if err == nil || strings.TrimSpace(err.Error()) != want {
		t.Errorf("LoadSettings() = %v\nwant %s", err, want)
	}
}
