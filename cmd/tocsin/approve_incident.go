package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"tocsin/incident"
)

func newAcknowledge() *cobra.Command {
	return newCare("acknowledge", "Say that you look after an incident; reminders end")
}

func newResolve() *cobra.Command {
	return newCare("resolve", "Say that an incident is over")
}

// newCare returns a command by which a person takes care of an incident.
func newCare(verb, short string) *cobra.Command {
	var f clientFlags
	var by string
	cmd := &cobra.Command{
		Use:   verb + " INCIDENT",
		Short: short,
		Long: short + `.

The beginning of an incident's ID is enough if there is only one that begins so.`,
		Args: asked(cobra.ExactArgs(1), aName),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			id, err := c.complete(cmd.Context(), "incidents", args[0])
			if err != nil {
				return err
			}
			var i incident.Incident
			path := "incidents/" + id + "/" + verb
			body := map[string]string{"by": c.author(by)}
			if _, err = c.call(cmd.Context(), http.MethodPost, path, nil, body, &i); err != nil {
				return fmt.Errorf("%s incident %s: %w; tocsin describe incident %s says more",
					verb, id, err, id)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", oneLine(i.Title, 200), i.State)
			return err
		},
	}
	f.add(cmd.Flags())
	addBy(cmd, &by)
	return cmd
}
