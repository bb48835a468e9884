"""Webhooks: telling other systems who entered or left an audience, at least once, in order for each person.

configuration   what stands in the file, read     signing      signatures of Standard Webhooks
following       the changes, none left out        deliveries   what is owed, as rows of the store
progress        how far each webhook is           feeding      from changes to deliveries
posting         one try                           pace         when the next one is
delivering      the deliveries of one webhook     sending      the thread that does all this
"""
