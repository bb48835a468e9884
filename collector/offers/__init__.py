"""Offers: which one somebody is shown in which place of a page, who is held out, and what came of it.

configuration  `[offers.<name>]` of the file of configuration, read
arms           who is held out of an offer
choice         the offers of one person, by what is known of them
standing       what the choice needs to know of people, out of the store
uplift         shown against held out: rates, values, intervals
report         the question asked, and put into words
"""
