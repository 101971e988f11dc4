-- The silence that a person made from a message about the incident, which the message then shows. It may be over.
ALTER TABLE incidents ADD COLUMN silence_id uuid;
