package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	commonconfig "github.com/prometheus/common/config"

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
	target, err := webhook.Secret(string(hook.URL), hook.URLFile)
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	key, err := webhook.Secret(string(hook.Secret), hook.SecretFile)
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
	if err := webhook.Post(ctx, client, target, key, act.ID, body); err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	return nil
}
