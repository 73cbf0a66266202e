package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/timeinterval"
	commonconfig "github.com/prometheus/common/config"
)

// clientFields says what the fields of the HTTP client of Prometheus mean, whose comments are
// not at hand. It must have just those that there are.
var clientFields = map[string]string{
	"basic_auth.username":                "",
	"basic_auth.username_file":           "File that holds it.",
	"basic_auth.password":                "",
	"basic_auth.password_file":           "File that holds it; read anew for each request.",
	"authorization.type":                 "Scheme of the header Authorization; `Bearer` by default.",
	"authorization.credentials":          "What follows the scheme: a token.",
	"authorization.credentials_file":     "File that holds it; read anew for each request.",
	"bearer_token":                       "The old way to write `authorization.credentials`.",
	"bearer_token_file":                  "The old way to write `authorization.credentials_file`.",
	"oauth2.client_id":                   "",
	"oauth2.client_secret":               "",
	"oauth2.client_secret_file":          "File that holds it.",
	"oauth2.client_certificate_key_id":   "Key ID in the header of the JWT.",
	"oauth2.client_certificate_key":      "Key that signs the JWT.",
	"oauth2.client_certificate_key_file": "File that holds it.",
	"oauth2.grant_type": "`client_credentials` (the default) or " +
		"`urn:ietf:params:oauth:grant-type:jwt-bearer`.",
	"oauth2.signature_algorithm":      "Of the JWT: `RS256` (the default), `RS384` or `RS512`.",
	"oauth2.iss":                      "Issuer in the JWT; `client_id` by default.",
	"oauth2.audience":                 "Audience in the JWT; `token_url` by default.",
	"oauth2.claims":                   "Further claims of the JWT.",
	"oauth2.scopes":                   "",
	"oauth2.token_url":                "Where tokens come from.",
	"oauth2.endpoint_params":          "Parameters added to the URL of tokens.",
	"oauth2.tls_config":               "As `tls_config`, of the token endpoint.",
	"oauth2.proxy_url":                "As `proxy_url`, of the token endpoint; so are the next three.",
	"oauth2.no_proxy":                 "",
	"oauth2.proxy_from_environment":   "",
	"oauth2.proxy_connect_header":     "",
	"tls_config.ca":                   "Certificates that the server's is checked with.",
	"tls_config.ca_file":              "File that holds them.",
	"tls_config.cert":                 "Certificate of the client.",
	"tls_config.cert_file":            "File that holds it.",
	"tls_config.key":                  "Key of the client.",
	"tls_config.key_file":             "File that holds it.",
	"tls_config.server_name":          "Name that the server's certificate must have.",
	"tls_config.insecure_skip_verify": "Do not check the server's certificate.",
	"tls_config.min_version":          "`TLS10`, `TLS11`, `TLS12` or `TLS13`.",
	"tls_config.max_version":          "The same.",
	"follow_redirects":                "`true` by default.",
	"enable_http2":                    "`true` by default.",
	"proxy_url":                       "Proxy for requests.",
	"no_proxy":                        "Hosts, domains and networks to reach without it, with commas between.",
	"proxy_from_environment":          "Take the proxy from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
	"proxy_connect_header":            "Headers for the proxy: lists of values by name.",
	"http_headers":                    "Headers by name: each a mapping of `values`, `secrets` or `files`.",
}

// timeFields says what the fields of a time interval of Alertmanager mean.
var timeFields = map[string]string{
	"times":         "List of `start_time` and `end_time`: `09:00`, `17:00`.",
	"weekdays":      "List: `monday:friday`, `sunday`.",
	"days_of_month": "List: `1:5`; `-1` is the last one.",
	"months":        "List: `january:march`, `12`.",
	"years":         "List: `2026:2028`.",
	"location":      "Time zone: `Europe/Berlin`; UTC by default.",
}

func (d *documenter) client() {
	d.out.WriteString("### HTTP client\n\nAs in Prometheus. Files are read when they are needed, " +
		"so that secrets can be rotated.\n\n")
	d.table(reflect.TypeFor[commonconfig.HTTPClientConfig](), clientFields)
}

func (d *documenter) timeInterval() {
	d.out.WriteString("### Times\n\nAs in Alertmanager. A time belongs if all fields that are given have it.\n\n")
	d.table(reflect.TypeFor[timeinterval.TimeInterval](), timeFields)
}

// table documents the fields of a foreign struct, which must be those that meanings has.
func (d *documenter) table(t reflect.Type, meanings map[string]string) {
	d.out.WriteString("| field | |\n|---|---|\n")
	names := foreign("", t)
	for _, name := range names {
		meaning, ok := meanings[name]
		if !ok {
			d.missing = append(d.missing, name)
		}
		fmt.Fprintf(&d.out, "| `%s` | %s |\n", name, meaning)
	}
	for _, name := range slices.Sorted(maps.Keys(meanings)) {
		if !slices.Contains(names, name) {
			d.missing = append(d.missing, name+" (is not a field)")
		}
	}
	d.out.WriteString("\n")
}

// foreign lists the fields of a struct, and of those structs in it that the decoder walks.
func foreign(prefix string, t reflect.Type) []string {
	var out []string
	fields, _ := fieldsOf(reflect.New(t).Elem())
	for _, f := range fields {
		path := fieldPath(prefix, f.name)
		ft := f.value.Type()
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		inner := ft.Kind() == reflect.Struct && !strings.HasPrefix(path, "oauth2.") &&
			!decodesItself(reflect.New(ft).Elem()) && f.name != "http_headers"
		if inner {
			out = append(out, foreign(path, ft)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}
