package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	commonconfig "github.com/prometheus/common/config"

	"tocsin/remediation"
	"tocsin/remediation/action"
	"tocsin/remediation/webhook"
)

// revert implements action.Options.Webhook: it has the user's own automation take a release back.
// It is given the same ID however often it is asked.
func (a *App) revert(ctx context.Context, act action.Action) error {
	a.mu.RLock()
	hook := a.config.Remediation.Webhook
	a.mu.RUnlock()
	if hook == nil {
		return errors.New("call the webhook: remediation.webhook is not configured")
	}
	body, err := json.Marshal(act)
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	target, err := given(string(hook.URL), hook.URLFile)
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	key, err := given(string(hook.Secret), hook.SecretFile)
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	client, err := commonconfig.NewClientFromConfig(hook.HTTP, "tocsin_revert",
		commonconfig.WithDialContextFunc(webhook.DialContext))
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	defer client.CloseIdleConnections()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if err := post(ctx, client, target, key, act.ID, body); err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	return nil
}

func post(ctx context.Context, client *http.Client, target, key, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return hideURL(err)
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	req.Header.Set(webhook.IdempotencyHeader, id)
	if key != "" {
		req.Header.Set(webhook.SignatureHeader, webhook.Sign(key, now, body))
	}
	resp, err := client.Do(req)
	if err != nil {
		return hideURL(err)
	}
	defer func() { _ = resp.Body.Close() }() // It was read as far as anybody cares.
	return remediation.CheckResponse(resp, now)
}

// hideURL takes the URL out of an error, as it is often a secret.
func hideURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// given returns a value that the file holds, or that stands in a file of its own.
func given(value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
