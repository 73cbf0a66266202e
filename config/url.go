package config

import (
	"errors"
	"net/url"
)

// URL is the address of something that speaks HTTP. A password in it is masked when it is printed.
type URL string

// MarshalYAML masks the password.
func (u URL) MarshalYAML() (any, error) {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.User == nil {
		return string(u), nil
	}
	return parsed.Redacted(), nil
}

// checkURL says what is wrong with text as a URL of HTTP.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		var parse *url.Error
		if errors.As(err, &parse) {
			return parse.Err // Without the text, which may hold a password.
		}
		return err
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("is not an http or https URL")
	case u.Host == "":
		return errors.New("has no host")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("has a query or a fragment")
	}
	return nil
}
