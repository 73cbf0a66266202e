package webhook

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"tocsin/incident"
	"tocsin/remediation"
)

func TestWhereMessagesMayGo(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1":                true,
		"::1":                      true,
		"10.0.0.7":                 true,
		"192.168.1.1":              true,
		"fd00::1":                  true,
		"203.0.113.9":              true,
		"64:ff9b::cb00:7109":       true, // 203.0.113.9
		"169.254.169.254":          false,
		"169.254.0.1":              false,
		"::ffff:169.254.169.254":   false,
		"64:ff9b::a9fe:a9fe":       false, // 169.254.169.254
		"fe80::1":                  false,
		"fe80::1%eth0":             false,
		"fd00:ec2::254":            false,
		"fd00:ec2::254%1":          false,
		"fd20:ce::254":             false,
		"168.63.129.16":            false,
		"100.100.100.200":          false,
		"::ffff:100.100.100.200":   false,
		"192.0.0.192":              false,
		"0.0.0.0":                  false,
		"::":                       false,
		"224.0.0.1":                false,
		"ff02::1":                  false,
		"::ffff:0.0.0.0":           false,
		"64:ff9b::6464:64c8":       false, // 100.100.100.200
		"2001:db8:169:254:169::fe": true,
	} {
		if got := permitted(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: permitted %t, want %t", address, got, want)
		}
	}
}

func TestMetadataServicesGetNoMessage(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "169.254.169.254:8080", "100.100.100.200"} {
		n, err := New(Options{URL: "http://" + host + "/latest/CANARY"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Notify(t.Context(), remediation.Notification{
			Key: "k", Incident: incident.Incident{ID: "i", State: incident.Open},
		})
		if !errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
