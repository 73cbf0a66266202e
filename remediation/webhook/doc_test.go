package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/remediation/webhook"
)

// doc describes the format. Receivers are written by it, so its example is what this test checks.
const doc = "../../docs/formats/webhook.md"

var rewrite = flag.Bool("rewrite", false, "write the example of docs/formats/webhook.md anew")

// verify is the receiver's side, as the documentation has it.
func verify(secret, signature string, body []byte, now time.Time) error {
	var at, sum string
	for part := range strings.SplitSeq(signature, ",") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "t":
			at = value
		case "v1":
			sum = value
		}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	if want := hex.EncodeToString(mac.Sum(nil)); !hmac.Equal([]byte(want), []byte(sum)) {
		return errors.New("wrong signature")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("too old")
	}
	return nil
}

func TestTheDocumentationVerifiesAsThisTestDoes(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("doc_test.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)func verify.*?\n}\n").FindString(string(source))
	if !strings.Contains(string(text), code) {
		t.Errorf("%s does not show this:\n%s", doc, code)
	}
}

func TestTheExampleIsTrue(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```json\n(.*?)```")
	n := note()
	want, err := json.MarshalIndent(webhook.Message{
		Version: webhook.Version, Event: webhook.Opened, Key: n.Key, Receiver: n.Receiver,
		Link: n.Link, Incident: n.Incident,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		text = block.ReplaceAllLiteral(text, []byte("```json\n"+string(want)+"\n```"))
		if err := os.WriteFile(doc, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	example := block.FindSubmatch(text)
	if example == nil || !bytes.Equal(bytes.TrimSpace(example[1]), want) {
		t.Fatalf("the example is not what is sent; go test -rewrite mends it. What is sent:\n%s", want)
	}
}

func TestTheExampleOfASignatureIsTrue(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has nothing like %s", doc, pattern)
		}
		return string(m[1])
	}
	secret, body := find("secret `(.*?)`"), find("body `(.*?)`")
	signature := find("X-Tocsin-Signature: (t=.*)")
	seconds, err := strconv.ParseInt(find(`X-Tocsin-Signature: t=(\d+)`), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(seconds, 0)
	if got := webhook.Sign(secret, at, []byte(body)); got != signature {
		t.Errorf("the signature is %s, the example says %s", got, signature)
	}
	if err := verify(secret, signature, []byte(body), at); err != nil {
		t.Errorf("the example does not verify: %v", err)
	}
	if verify(secret, signature, []byte(body), at.Add(time.Hour)) == nil {
		t.Error("an old message verifies")
	}
}
