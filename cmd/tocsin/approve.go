package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tocsin/api"
	"tocsin/release"
	"tocsin/remediation/action"
)

func newApprove() *cobra.Command {
	return newDecision("approve", "Let an action go on that waits for a person",
		`Let an action go on that waits for a person. Its evidence is read once more: it is done only if
no guard speaks against it then. tocsin get actions --state waiting lists what waits.`)
}

func newAbort() *cobra.Command {
	return newDecision("abort", "Call an action off that has not been written yet",
		`Call an action off that has not been written yet, and with it all that would be done about its
release, until somebody retries it. What has been written is to be undone by hand.`)
}

func newRetry() *cobra.Command {
	return newDecision("retry", "Have an action judged once more that was refused or called off",
		`Have an action judged once more that was refused, failed, expired or called off. Nothing that was
written is done twice.`)
}

// newDecision returns a command by which a person decides about an action.
func newDecision(verb, short, long string) *cobra.Command {
	var f clientFlags
	var by, note string
	cmd := &cobra.Command{
		Use:   verb + " ACTION",
		Short: short,
		Long: long + `

The beginning of an action's ID is enough if there is only one that begins so.`,
		Args: asked(cobra.ExactArgs(1), aName),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			id, err := c.complete(cmd.Context(), "actions", args[0])
			if err != nil {
				return err
			}
			var a action.Action
			body := map[string]string{"by": c.author(by), "note": note}
			path := "actions/" + id + "/" + verb
			if _, err = c.call(cmd.Context(), http.MethodPost, path, nil, body, &a); err != nil {
				return fmt.Errorf("%w; tocsin describe action %s says more", err, id)
			}
			s := newSheet(cmd.OutOrStdout())
			s.line(actionTone(a.State), "%s of %s: %s%s", a.Kind, subjectOf(a.Service, a.Workload),
				a.State, oneLine(reason(a.Reason), 300))
			s.choices(append(choicesOf(&a, time.Now()), choice{
				"tocsin get actions --watch --service " + a.Service.Name, "follows it",
			}))
			return s.err
		},
	}
	f.add(cmd.Flags())
	addBy(cmd, &by)
	cmd.Flags().StringVar(&note, "note", "", "Why; others will read it.")
	return cmd
}

func newMark() *cobra.Command {
	var f clientFlags
	var by string
	cmd := &cobra.Command{
		Use:   "mark RELEASE accepted|regressed|unknown",
		Short: "Overrule what is known of the revision that a release has brought",
		Long: `Overrule what is known of the revision that a release has brought. One that is
accepted may be gone back to, and verdicts speak against it no more; one that is regressed is never
gone back to. The beginning of a release's ID is enough if there is only one that begins so.`,
		Args: asked(cobra.ExactArgs(2), aName),
		RunE: func(cmd *cobra.Command, args []string) error {
			standing := release.Standing(args[1])
			switch standing {
			case release.Accepted, release.Bad, release.Unknown:
			default:
				return fmt.Errorf("%w: %q: want %s, %s or %s", errBadInput, args[1],
					release.Accepted, release.Bad, release.Unknown)
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			id, err := c.complete(cmd.Context(), "releases", args[0])
			if err != nil {
				return err
			}
			var d api.ReleaseDetail
			body := map[string]string{"standing": string(standing), "by": c.author(by)}
			path := "releases/" + id + "/mark"
			if _, err = c.call(cmd.Context(), http.MethodPost, path, nil, body, &d); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of %s is %s\n",
				oneLine(revision(d.Release.New), 200), subjectOf(d.Release.Service, d.Release.Workload),
				standing)
			return err
		},
	}
	f.add(cmd.Flags())
	addBy(cmd, &by)
	return cmd
}
