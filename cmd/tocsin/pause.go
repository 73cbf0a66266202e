package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tocsin/remediation/action"
)

// stopFlags say what a pause is about and how long it lasts.
type stopFlags struct {
	cluster, namespace, service, team string
	lasts, why, by                    string
}

func newPause() *cobra.Command {
	var f clientFlags
	var p stopFlags
	cmd := &cobra.Command{
		Use:   "pause [--cluster C] [--namespace N] [--service S] [--team T] [--for 2h] [--why TEXT]",
		Short: "Keep anything from being done about releases: the kill switch",
		Long: `Keep anything from being done about releases, at once: also what has begun and is
not written is called off. What has been written is seen to its end. Releases are still judged, and
people told. Without a cluster, namespace, service or team it is about everything; * stands for any
letters. Without --for it lasts until tocsin resume.`,
		Args: asked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			body := map[string]string{
				"scope": p.scope(), "team": p.team, "for": p.lasts, "why": p.why,
				"by": c.author(p.by),
			}
			var made action.Pause
			_, err = c.call(cmd.Context(), http.MethodPost, "pauses", nil, body, &made)
			if err != nil {
				return err
			}
			return writePaused(cmd, &made)
		},
	}
	f.add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&p.cluster, "cluster", "", "Only of this cluster.")
	flags.StringVarP(&p.namespace, "namespace", "n", "", "Only of this namespace.")
	flags.StringVar(&p.service, "service", "", "Only of this service.")
	flags.StringVar(&p.team, "team", "", "Only of this team.")
	flags.StringVar(&p.lasts, "for", "", "How long: 2h, 1d; until it is resumed.")
	flags.StringVar(&p.why, "why", "", "Why; others will read it.")
	addBy(cmd, &p.by)
	return cmd
}

func writePaused(cmd *cobra.Command, p *action.Pause) error {
	ends := "until it is resumed"
	if !p.Until.IsZero() {
		ends = "until " + when(p.Until)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(),
		"%s: nothing is done about releases of %s, %s; tocsin resume %[1]s ends it\n",
		p.ID, oneLine(p.Scope.String(), 200), ends)
	return err
}

// scope writes what the pause is about as the API wants it.
func (p *stopFlags) scope() string {
	parts := []string{p.cluster, p.namespace, p.service}
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 0 {
		return "fleet"
	}
	for i := range parts {
		if parts[i] == "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

func newResume() *cobra.Command {
	var f clientFlags
	var by string
	var all bool
	cmd := &cobra.Command{
		Use:   "resume [PAUSE | --all]",
		Short: "End a pause",
		Long: `End a pause: what it has refused is judged anew. The pause may be left out if only
one is in force; --all ends all of them. tocsin get pauses lists them.`,
		Args: asked(cobra.MaximumNArgs(1), aName),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			if all && len(args) > 0 {
				return fmt.Errorf("%w: want either a pause or --all", errBadInput)
			}
			ids, err := pausesToEnd(cmd.Context(), c, strings.Join(args, ""), all)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := resume(cmd, c, id, by); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd.Flags())
	addBy(cmd, &by)
	cmd.Flags().BoolVar(&all, "all", false, "End all that are in force.")
	return cmd
}

// pausesToEnd returns the pauses in force that are meant.
func pausesToEnd(ctx context.Context, c *client, id string, all bool) ([]string, error) {
	known, err := list[action.Pause](ctx, c, "pauses", url.Values{}, searched)
	if err != nil {
		return nil, err
	}
	var found []string
	now := time.Now()
	for i := range known {
		if p := &known[i]; p.Active(now) && begins(p.ID, id) {
			found = append(found, p.ID)
		}
	}
	switch {
	case len(found) == 0 && id == "":
		return nil, fmt.Errorf("%w: no pause is in force", errBadInput)
	case len(found) == 0:
		return nil, fmt.Errorf("%w: no pause in force is or begins with %s; tocsin get pauses lists them",
			errBadInput, id)
	case len(found) > 1 && !all:
		return nil, fmt.Errorf("%w: %d pauses are meant: write one of %s, or --all",
			errBadInput, len(found), strings.Join(found[:min(len(found), 5)], ", "))
	}
	return found, nil
}

func resume(cmd *cobra.Command, c *client, id, by string) error {
	var ended action.Pause
	body := map[string]string{"by": c.author(by)}
	_, err := c.call(cmd.Context(), http.MethodDelete, "pauses/"+id, nil, body, &ended)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the pause of %s is over\n",
		id, oneLine(ended.Scope.String(), 200))
	return err
}
