package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tocsin/api"
	"tocsin/detector"
)

func newFeedback() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "feedback",
		Short: "Say what you think of findings and incidents, and so move their thresholds",
		Long: `Say what you think of a finding or an incident. It moves the threshold of each series
concerned, within the alert budget, is written into the journal under your name, and can be
undone.`,
	}
	f.add(cmd.PersistentFlags())
	cmd.AddCommand(
		newFeedbackList(&f),
		newOpinion(&f, detector.Useful, "It was right to say so: a lower threshold"),
		newOpinion(&f, detector.NotUseful, "It was not worth the time: a higher threshold"),
		newOpinion(&f, detector.Expected, "It was to be expected, such as a planned load test"),
		newFeedbackUndo(&f),
	)
	return cmd
}

// newOpinion returns the command that gives one opinion; its name is the opinion with a hyphen for
// a space.
func newOpinion(f *clientFlags, opinion detector.Opinion, short string) *cobra.Command {
	var note, by string
	cmd := &cobra.Command{
		Use:   strings.ReplaceAll(string(opinion), " ", "-") + " ID",
		Short: short,
		Long:  short + ". ID is that of a finding, or of an incident and stands for all of its findings.",
		Args:  asked(cobra.ExactArgs(1), anID),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			body := map[string]string{"opinion": string(opinion), "note": note, "by": c.author(by)}
			var given api.Feedback
			for _, what := range []string{"findings", "incidents"} {
				path := what + "/" + args[0] + "/feedback"
				if _, err = c.call(cmd.Context(), http.MethodPost, path, nil, body, &given); !notFound(err) {
					break
				}
			}
			if notFound(err) {
				return fmt.Errorf("%w: there is neither a finding nor an incident with the ID %s",
					errBadInput, args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(),
				"%s: %s for %s, by %s; tocsin feedback undo %[1]s takes it back\n",
				given.ID, given.Opinion, subject(&given), oneLine(given.By, 60))
			return err
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "Why; others will read it.")
	addBy(cmd, &by)
	return cmd
}

func newFeedbackUndo(f *clientFlags) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "undo ID",
		Short: "Take feedback back, yours or somebody else's; ID is that of the feedback",
		Args:  asked(cobra.ExactArgs(1), anID),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			var undone api.Feedback
			body := map[string]string{"by": c.author(by)}
			_, err = c.call(cmd.Context(), http.MethodDelete, "feedback/"+args[0], nil, body, &undone)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s for %s is undone\n",
				undone.ID, undone.Opinion, subject(&undone))
			return err
		},
	}
	addBy(cmd, &by)
	return cmd
}

func addBy(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", "",
		"Who says so; whom --http.config.file names, or the user of this machine.")
}

func newFeedbackList(f *clientFlags) *cobra.Command {
	var state, output string
	var limit int
	cmd := &cobra.Command{
		Use:   "list [--state active|replaced|undone|expired|all] [--limit N] [--output table|json]",
		Short: "List what people think, the newest first",
		Args:  asked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" || limit < 1 {
				return fmt.Errorf("%w: want --output table or json, and --limit above 0",
					errBadInput)
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if state != "all" {
				query.Set("state", state)
			}
			all, err := list[api.Feedback](cmd.Context(), c, "feedback", query, limit)
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(all)
			}
			return writeFeedback(cmd.OutOrStdout(), all)
		},
	}
	cmd.Flags().StringVar(&state, "state", string(api.FeedbackActive),
		"Only feedback in this state, or all.")
	cmd.Flags().IntVar(&limit, "limit", 100, "At most so many.")
	cmd.Flags().StringVar(&output, "output", "table", "table or json.")
	return cmd
}

func writeFeedback(out io.Writer, list []api.Feedback) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tOPINION\tBY\tAT\tABOUT\tNOTE")
	for _, f := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.State, f.Opinion, oneLine(f.By, 30),
			f.At.Local().Format("2006-01-02 15:04"), subject(&f), oneLine(f.Note, 60))
	}
	return w.Flush()
}

// subject says for people what feedback is about.
func subject(f *api.Feedback) string {
	if f.Incident != "" {
		text := fmt.Sprintf("incident %s at %s (%d series)", f.Incident, f.Service, len(f.Series))
		return oneLine(text, 200)
	}
	return oneLine(fmt.Sprintf("%s of %s", f.Signal, f.Service), 200)
}

// anID refuses arguments that no ID looks like, before they become part of a path.
func anID(_ *cobra.Command, args []string) error {
	for _, id := range args {
		if id == "" || strings.Trim(id, "0123456789abcdef") != "" {
			return fmt.Errorf("%w: ID %q: want hexadecimal digits, as lists show them",
				errBadInput, id)
		}
	}
	return nil
}
